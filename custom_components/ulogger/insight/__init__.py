"""From captures to text and crash reports."""
