"""Fixtures of the cloud room's tests."""

from tests.local_cloud import broker, cloud_service

__all__ = ["broker", "cloud_service"]
