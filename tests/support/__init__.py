"""What tests, and programs that use their doubles, share."""

# Before anything here, or in a test, brings in the harness.
from . import harness  # noqa: F401
