"""uLogger: a gateway from Bluetooth devices to the uLogger cloud."""
