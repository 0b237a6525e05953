"""Tests that each cloud's wire is as documented."""
