"""Captures on disk until every destination has acknowledged them."""
