"""script/decode: what logs and core dumps say, without Home Assistant."""
