"""Forms and their checks."""
