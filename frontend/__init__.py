"""The panel's sources, and what makes its types."""
