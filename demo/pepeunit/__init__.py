"""A Pepeunit of one's own on loopback: its broker, its REST API, and units in it."""
