"""One config entry: its settings, store, keys, disk space and consent."""
