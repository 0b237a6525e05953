"""Faults at random moments on a whole road, and the account of what became of every frame."""
