"""Each cloud's wire, held to its documentation by a local cloud and the cloud's own library."""

# From 2026.11 on it puts httpx2 in the place of httpx, which a cloud's own library imports.
import homeassistant  # noqa: F401
