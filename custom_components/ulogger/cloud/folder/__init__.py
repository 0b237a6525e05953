"""Captures as files in a directory."""
