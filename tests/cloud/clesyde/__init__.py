"""Clesyde."""
