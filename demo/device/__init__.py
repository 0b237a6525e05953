"""The virtual device: simulated firmware, its radio and its links."""
