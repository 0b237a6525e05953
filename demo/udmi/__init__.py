"""A building's management cloud that speaks UDMI, on this machine."""
