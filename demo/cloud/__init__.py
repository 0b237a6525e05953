"""The local cloud: a broker with mutual TLS and the service behind it."""
