"""UDMI 1.5: Home Assistant as a gateway of a building, its devices as proxied devices."""
