"""An account at work: devices, discovery, destinations, heartbeats, issues."""
