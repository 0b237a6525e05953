"""From the outbox to the destinations."""
