"""Clesyde: an AWS IoT thing with a shadow, and remote access over SniTun."""
