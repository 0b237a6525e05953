"""One MQTT transport for all clouds."""
