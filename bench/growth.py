"""Whether something grows: a slope over time, and how sure it is that it is one.

Of what was measured after the warm-up the slope is taken that Theil and Sen propose: the middle of
the slopes between every two samples, which no outlier and no sawtooth moves. By it, a measure has
risen by so much over the time that is judged. It *grows* if that is more than its ``Limit`` allows,
and if the lower end of the slope's confidence interval (99 %, after Kendall) is above zero: then it
is no noise either. A leak that is slower than that takes a longer run to be seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import median

WARM_UP = 0.4
"""The share of the time that caches, pools and the disk's limits have to fill up."""
CONFIDENCE = 2.576
"""How many standard deviations to either side make 99 %."""
FEWEST = 6
MOST = 400
"""Samples that are looked at; of more, every second or third is as good."""
AT = "at"
"""What the moment of a sample is called, in seconds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may be added over the time that is judged: a share, and so much besides."""

    share: float = 0.0
    besides: float = 0.0

    def of(self, usual: float) -> float:
        """Return how much that is for a measure that usually is so much."""
        return usual * self.share + self.besides


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one measure after the warm-up.

    ``first`` and ``last`` are where the slope begins and ends, ``rise`` is between them, and
    ``allowed`` what it may be. ``sure`` says that it is no noise.
    """

    first: float
    last: float
    most: float
    per_hour: float
    rise: float
    allowed: float
    sure: bool
    grows: bool


def judge(
    samples: Sequence[Mapping[str, float]], limits: Mapping[str, Limit]
) -> dict[str, Verdict]:
    """Judge each measure that has a limit; ValueError for too few samples to say anything."""
    warm = after_warm_up(samples)
    if len(warm) < FEWEST:
        raise ValueError(f"{len(warm)} samples after the warm-up say nothing; run it for longer")
    looked_at = warm[:: -(-len(warm) // MOST)]
    times = [sample[AT] for sample in looked_at]
    return {
        name: _verdict(times, [sample[name] for sample in looked_at], limit)
        for name, limit in limits.items()
    }


def after_warm_up[T](samples: Sequence[T]) -> Sequence[T]:
    """Return the samples that count."""
    return samples[int(len(samples) * WARM_UP) :]


def _verdict(times: Sequence[float], values: Sequence[float], limit: Limit) -> Verdict:
    slope, lower = slope_of(times, values)
    usual, middle = median(values), median(times)
    seconds = times[-1] - times[0]
    rise, allowed = slope * seconds, limit.of(usual)
    return Verdict(
        first=usual + slope * (times[0] - middle),
        last=usual + slope * (times[-1] - middle),
        most=max(values),
        per_hour=slope * 3600,
        rise=rise,
        allowed=allowed,
        sure=lower > 0,
        grows=lower > 0 and rise > allowed,
    )


def slope_of(times: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return a slope after Theil and Sen, and the lower end of its confidence interval."""
    points = list(zip(times, values, strict=True))
    slopes = sorted(
        (value - before) / (time - earlier)
        for (earlier, before), (time, value) in combinations(points, 2)
        if time > earlier
    )
    count = len(points)
    spread = CONFIDENCE * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    place = max(0, int((len(slopes) - spread) / 2))
    return median(slopes), slopes[place]
