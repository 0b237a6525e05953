"""The device's side of the protocol: GATT, packets, the transfer and one Bluetooth session."""
