"""Pepeunit as a destination: this Home Assistant is one of its units."""
