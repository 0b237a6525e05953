"""What a device has said so far, as far as its captures were read: counts, and its metrics."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class MetricValue:
    """The newest value of a metric, and when it was measured: Unix time, None if not known."""

    value: int | float
    at: float | None = None


@dataclass(slots=True)
class Heard:
    """What was heard of a device.

    ``errors`` counts the lines of level ERROR and CRITICAL, ``warnings`` those of level WARNING;
    each also of the last log alone. ``capture_id`` and ``captured_at`` (Unix time) are those of
    the last capture that counts. ``metrics`` is what the device measures, by name;
    ``more_metrics`` are the names that were too many.
    """

    errors: int = 0
    warnings: int = 0
    last_errors: int = 0
    last_warnings: int = 0
    capture_id: int = 0
    captured_at: float = 0.0
    metrics: dict[str, MetricValue] = field(default_factory=dict)
    more_metrics: list[str] = field(default_factory=list)

    def names(self, limit: int) -> list[str]:
        """Return the metrics that may have a sensor, as many as there may be, the first ones."""
        return list(self.metrics)[:limit]

    def left_out(self, limit: int) -> list[str]:
        """Return the metrics that have no sensor because there are too many."""
        if not limit or len(self.metrics) < limit:
            return []
        return [*list(self.metrics)[limit:], *self.more_metrics]

    def counts(self, capture_id: int, captured_at: float) -> bool:
        """Whether a capture counts already; an outbox that was lost counts from 1 again."""
        return capture_id <= self.capture_id and captured_at <= self.captured_at
