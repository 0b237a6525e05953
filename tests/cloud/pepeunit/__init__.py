"""Tests of Pepeunit as a destination."""
