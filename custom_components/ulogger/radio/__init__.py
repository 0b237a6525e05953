"""Who is collected when, over which connection slot: no Bluetooth and no clock of its own."""
