"""Captures on disk until the cloud has acknowledged them."""
