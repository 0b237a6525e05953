"""A local Clesyde: broker, shadows, provisioning, and a SniTun server."""
