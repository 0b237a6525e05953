"""Hostile bytes for every parser that takes bytes from outside."""
