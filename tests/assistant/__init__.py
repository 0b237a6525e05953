"""Tests of what language models may ask."""
