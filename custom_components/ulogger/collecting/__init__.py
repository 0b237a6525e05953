"""One connection to one device, and what is shown of it."""
