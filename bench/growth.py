"""Whether something grows: samples over time, and how much of a rise is only noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

WARM_UP = 0.4
"""The share of the time that caches, pools and the disk's limits have to fill up."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much more the last third may have than the first: a share, and so much besides."""

    share: float = 0.0
    besides: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one measure after the warm-up."""

    first: float
    last: float
    most: float
    grows: bool


def judge(
    samples: Sequence[Mapping[str, float]], limits: Mapping[str, Limit]
) -> dict[str, Verdict]:
    """Compare the middle of the first third after the warm-up with that of the last."""
    warm = samples[int(len(samples) * WARM_UP) :]
    third = max(1, len(warm) // 3)
    verdicts = {}
    for name, limit in limits.items():
        values = [sample[name] for sample in warm]
        first, last = median(values[:third]), median(values[-third:])
        grows = last > first * (1 + limit.share) + limit.besides
        verdicts[name] = Verdict(first, last, max(values), grows)
    return verdicts
