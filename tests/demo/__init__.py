"""The demo: its proxy, its Home Assistant, the whole road."""
