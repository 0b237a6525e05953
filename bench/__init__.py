"""What is measured of the integration: one module per benchmark, run by ``script/bench NAME``."""
