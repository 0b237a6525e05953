"""What came off a device: log buffers, core dumps and the firmware images that explain them."""
