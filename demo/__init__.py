"""A real Home Assistant with a virtual device and a local cloud."""
