"""Readings that were made a moment ago."""

import tracemalloc

from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.cache import ReadingCache, estimated_size
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support.fixtures import real_log


def made(set_name: str = "v4-formats") -> Reading:
    log = real_log(set_name)
    image = FirmwareImage.load(log.image)
    return read(Capture(CaptureKind.LOG, DeviceIdentity(1, "S"), log.data, 1e9), image)


def test_a_reading_is_made_once() -> None:
    calls = []

    def make() -> Reading:
        calls.append(1)
        return made()

    cache = ReadingCache()
    assert cache.get(1, make) is cache.get(1, make)
    assert len(calls) == 1
    assert cache.get((1, "image"), make) is not cache.get(1, make)
    assert len(calls) == 2


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    reading = made()
    cache = ReadingCache(3 * estimated_size(reading))
    for key in (1, 2, 3):
        cache.put(key, reading)
    cache.find(1)
    cache.put(4, reading)
    assert [key for key in (1, 2, 3, 4) if cache.find(key)] == [1, 3, 4]
    assert cache.size == 3 * estimated_size(reading)


def test_what_is_larger_than_the_cache_is_not_kept_and_drives_nothing_out() -> None:
    small, large = made(), made("v3-long")
    cache = ReadingCache(estimated_size(large) - 1)
    cache.put(1, small)
    assert cache.get(2, lambda: large) is large
    assert cache.find(2) is None
    assert cache.find(1) is small


def test_readings_are_forgotten() -> None:
    cache = ReadingCache()
    cache.put(1, made())
    cache.put(1, made())
    assert cache.size == estimated_size(made())
    cache.forget(1)
    cache.forget(1)
    assert cache.size == 0
    cache.put(2, made())
    cache.clear()
    assert (cache.size, cache.find(2)) == (0, None)


def test_a_reading_takes_no_more_memory_than_it_is_estimated() -> None:
    made("v3-long")
    tracemalloc.start()
    reading = made("v3-long")
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken / 2 < estimated_size(reading) < 4 * taken
    assert taken < estimated_size(reading) * 1.2
