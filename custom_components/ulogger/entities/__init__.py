"""Entities of one kind of thing, for the platforms that show them."""
