"""The simulated firmware: one test, or a few, for each of its behaviours."""

import pytest

from custom_components.ulogger.agent.gatt import CORE_DUMP_DATA, LOG_DATA
from custom_components.ulogger.agent.packets import (
    encode_ack,
    parse_chunk,
    parse_identification,
)
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import LogHeader, check_log
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.log_config import LogConfig
from demo.device.firmware import READ_SECONDS_PER_BYTE, Firmware
from demo.device.log_memory import Moment
from demo.device.samples import sample_core_dump, sample_frames, sample_log

from ..support.agent_world import DEVICE

LOG = sample_log(100)
DUMP = sample_core_dump(DEVICE, 300)
MORE = sample_frames(24, seed=9)
HEADER = 25


class Timer:
    def __init__(self, at, callback):
        self.at, self.callback, self.live = at, callback, True

    def cancel(self):
        self.live = False

    def when(self):
        return self.at


class Clock:
    """A schedule that a test moves by hand."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, callback, /):
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    def pass_time(self, seconds):
        end = self.now + seconds
        while due := sorted((t for t in self.timers if t.live and t.at <= end), key=Timer.when):
            self.timers.remove(due[0])
            self.now = due[0].at
            due[0].callback()
        self.now = end


class Host:
    """Writes acks and keeps what is notified."""

    def __init__(self, firmware):
        self.firmware = firmware
        self.heard = []
        firmware.connect(lambda uuid, value: self.heard.append((uuid, parse_chunk(value))))

    def ack(self, offset):
        """Write an ack; what came since the last one."""
        self.heard.clear()
        self.firmware.write_ack(encode_ack(offset))
        return list(self.heard)

    def fetch(self, uuid):
        data = b""
        while True:
            [(source, chunk)] = self.ack(len(data))
            assert source == uuid
            data += chunk.payload
            if len(data) >= chunk.total:
                return data


@pytest.fixture
def clock():
    return Clock()


def connected(clock, *args, **options):
    """A device that computes in no time, but in the tests of what it computes."""
    options = {"read_seconds_per_byte": 0.0, **options}
    firmware = Firmware(DEVICE, *args, schedule=clock, **options)
    return firmware, Host(firmware)


# 1


def test_after_connecting_nothing_happens_until_an_ack_of_zero(clock):
    _, host = connected(clock, LOG)
    assert host.ack(16) == []
    assert host.ack(0) == [(LOG_DATA, (0, 100, LOG[:16]))]


def test_without_logs_an_ack_of_zero_starts_the_dump(clock):
    _, host = connected(clock, b"", DUMP)
    assert host.ack(0) == [(CORE_DUMP_DATA, (0, 300, DUMP[:16]))]


def test_with_nothing_nothing_answers(clock):
    _, host = connected(clock)
    assert host.ack(0) == []
    clock.pass_time(10)
    assert host.heard == []


def test_the_tick_starts_a_log_but_never_a_dump(clock):
    firmware, host = connected(clock, b"", DUMP)
    clock.pass_time(5)
    assert host.heard == []
    firmware.append_log(MORE)
    clock.pass_time(2)
    assert [uuid for uuid, _ in host.heard] == [LOG_DATA]


# 2


def test_each_ack_brings_its_chunk_whatever_came_before(clock):
    _, host = connected(clock, LOG)
    host.ack(0)
    assert host.ack(96) == [(LOG_DATA, (96, 100, LOG[96:]))]
    assert host.ack(7) == [(LOG_DATA, (7, 100, LOG[7:23]))]


def test_a_lost_log_chunk_is_not_repeated(clock):
    _, host = connected(clock, LOG)
    host.ack(0)
    host.heard.clear()
    clock.pass_time(20)
    assert host.heard == []


# 3


def test_an_ack_at_the_total_erases_the_log(clock):
    firmware, host = connected(clock, LOG)
    firmware.committed(CaptureKind.LOG, host.fetch(LOG_DATA))
    host.ack(100)
    assert firmware.log == b""
    assert (firmware.erases, firmware.early_erases) == (1, 0)


def test_with_a_dump_the_end_of_the_log_begins_the_dump_and_erases_nothing(clock):
    firmware, host = connected(clock, LOG, DUMP)
    host.fetch(LOG_DATA)
    assert host.ack(100) == []
    clock.pass_time(0.11)
    assert host.heard == [(CORE_DUMP_DATA, (0, 300, DUMP[:16]))]
    assert firmware.log == LOG


def test_the_end_of_the_dump_erases_both(clock):
    firmware, host = connected(clock, LOG, DUMP)
    firmware.committed(CaptureKind.LOG, host.fetch(LOG_DATA))
    host.ack(100)
    firmware.committed(CaptureKind.CORE_DUMP, host.fetch(CORE_DUMP_DATA))
    host.ack(300)
    assert (firmware.log, firmware.core_dump) == (b"", None)
    assert firmware.early_erases == 0


def test_a_disconnect_keeps_everything(clock):
    firmware, host = connected(clock, LOG, DUMP)
    host.fetch(LOG_DATA)
    host.ack(100)
    firmware.disconnect()
    assert (firmware.log, firmware.core_dump) == (LOG, DUMP)
    assert Host(firmware).ack(16) == []


def test_an_erase_that_nobody_committed_is_counted(clock):
    firmware, host = connected(clock, LOG)
    host.ack(0)
    host.ack(100)
    assert firmware.early_erases == 1
    assert firmware.bytes_erased_uncommitted == 100


def test_what_is_committed_can_be_asked_of_someone_else(clock):
    firmware, host = connected(clock, LOG, is_committed=lambda kind, data: data == LOG)
    host.ack(0)
    host.ack(100)
    assert firmware.early_erases == 0


# 4


def test_during_a_dump_the_tick_repeats_the_chunk(clock):
    _, host = connected(clock, b"", DUMP)
    host.ack(0)
    host.ack(16)
    host.heard.clear()
    clock.pass_time(2.1)
    assert host.heard == [(CORE_DUMP_DATA, (16, 300, DUMP[16:32]))]


def test_a_stale_log_ack_moves_the_dump(clock):
    _, host = connected(clock, LOG, DUMP)
    host.fetch(LOG_DATA)
    host.ack(100)
    assert host.ack(48) == [(CORE_DUMP_DATA, (48, 300, DUMP[48:64]))]
    host.heard.clear()
    clock.pass_time(0.11)
    assert host.heard == [(CORE_DUMP_DATA, (48, 300, DUMP[48:64]))]


def test_a_stale_log_ack_past_the_dump_erases_it(clock):
    firmware, host = connected(clock, sample_log(1000), DUMP)
    host.fetch(LOG_DATA)
    host.ack(1000)
    host.ack(800)
    assert firmware.core_dump is None
    assert firmware.early_erases == 2


# 5


def test_a_long_dump_shows_a_wrapped_total_and_is_never_erased(clock):
    dump = sample_core_dump(DEVICE, 70_000)
    firmware, host = connected(clock, b"", dump)
    assert host.ack(0) == [(CORE_DUMP_DATA, (0, 70_000 - 65_536, dump[:16]))]
    host.ack(70_000 - 65_536)
    host.ack(0xFFFF)
    assert firmware.core_dump == dump


# 6


def test_what_is_logged_during_a_transfer_is_not_part_of_it(clock):
    firmware, host = connected(clock, LOG)
    host.ack(0)
    firmware.append_log(MORE)
    assert host.fetch(LOG_DATA)[HEADER:] == LOG[HEADER:]


def test_an_older_agent_erases_it_with_the_rest(clock):
    firmware, host = connected(clock, LOG, agent="older")
    firmware.committed(CaptureKind.LOG, host.fetch(LOG_DATA))
    firmware.append_log(MORE)
    host.ack(100)
    assert firmware.log == b""
    assert firmware.bytes_lost_by_agent == len(MORE)


def test_a_newer_agent_keeps_it_for_the_next_transfer(clock):
    firmware, host = connected(clock, LOG, agent="newer")
    firmware.committed(CaptureKind.LOG, host.fetch(LOG_DATA))
    firmware.append_log(MORE)
    host.ack(100)
    assert check_log(firmware.log).used_bytes == len(MORE)
    assert host.fetch(LOG_DATA)[25:] == MORE


def test_a_newer_agent_offers_again_after_a_reset_what_was_taken(clock):
    firmware, host = connected(clock, LOG, agent="newer")
    firmware.committed(CaptureKind.LOG, host.fetch(LOG_DATA))
    host.ack(100)
    firmware.reset()
    assert firmware.log[25:] == LOG[25:]


# 7


def test_a_header_that_is_read_anew_no_longer_fits_what_is_sent(clock):
    firmware, host = connected(clock, LOG, agent="older", rereads_header=True)
    host.ack(0)
    firmware.append_log(MORE)
    with pytest.raises(CaptureError):
        check_log(host.fetch(LOG_DATA))


def test_a_torn_checksum_is_whole_the_next_time(clock):
    _, host = connected(clock, LOG, torn_reads=1)
    with pytest.raises(CaptureError):
        check_log(host.fetch(LOG_DATA))
    assert host.fetch(LOG_DATA) == LOG


# 8


def test_one_host_at_a_time_and_no_advertisements_meanwhile(clock):
    firmware, _ = connected(clock, LOG)
    assert not firmware.advertising
    with pytest.raises(ConnectionError):
        Host(firmware)
    firmware.disconnect()
    assert firmware.advertising


# 9


def test_the_regions_are_those_of_the_example(clock):
    firmware = Firmware(DEVICE, schedule=clock, read_seconds_per_byte=0.0)
    assert firmware.append_log(bytes(16 * 1024))
    assert not firmware.append_log(b"x")
    with pytest.raises(ValueError, match="region"):
        firmware.crash(bytes(96 * 1024 + 1))


def test_a_notification_has_twenty_bytes(clock):
    values = []
    firmware = Firmware(DEVICE, LOG, schedule=clock, read_seconds_per_byte=0.0)
    firmware.connect(lambda _, value: values.append(value))
    firmware.write_ack(encode_ack(0))
    assert len(values[0]) == 20


# 10


def header_of(host):
    """Fetch as far as the header goes; what it tells of, and the length on the wire."""
    [(_, first)] = host.ack(0)
    [(_, second)] = host.ack(16)
    return LogHeader.parse(first.payload + second.payload).total, first.total


@pytest.mark.parametrize("booted", [0.0, 0.3, 1.0, 1.9])
def test_the_tick_runs_from_the_boot(clock, booted):
    firmware = Firmware(DEVICE, LOG, schedule=clock, read_seconds_per_byte=0.0)
    clock.pass_time(10 + booted)
    host = Host(firmware)
    clock.pass_time(1.99 - booted)
    assert host.heard == []
    clock.pass_time(0.02)
    assert [uuid for uuid, _ in host.heard] == [LOG_DATA]


def test_after_a_reset_the_tick_runs_from_there(clock):
    firmware = Firmware(DEVICE, LOG, schedule=clock, read_seconds_per_byte=0.0)
    clock.pass_time(1)
    firmware.reset()
    host = Host(firmware)
    clock.pass_time(1.5)
    assert host.heard == []
    clock.pass_time(0.6)
    assert host.heard


def test_a_transfer_keeps_its_length_but_its_header_tells_of_what_was_logged_since(clock):
    firmware, host = connected(clock, LOG)
    clock.pass_time(2)
    firmware.append_log(MORE)
    assert header_of(host) == (len(LOG) + len(MORE), len(LOG))


def test_only_a_disconnect_ends_such_a_transfer(clock):
    firmware, host = connected(clock, LOG)
    clock.pass_time(2)
    firmware.append_log(MORE)
    header_of(host)
    clock.pass_time(2)
    told, total = header_of(host)
    assert told > total
    firmware.disconnect()
    told, total = header_of(Host(firmware))
    assert told == total == len(LOG) + len(MORE)


def test_a_header_can_be_sealed_with_the_length(clock):
    firmware, host = connected(clock, LOG, rereads_header=False)
    clock.pass_time(2)
    firmware.append_log(MORE)
    assert host.fetch(LOG_DATA) == LOG


# 11


def test_the_header_has_the_tick_at_which_its_first_chunk_was_read(clock):
    firmware = Firmware(
        DEVICE,
        schedule=clock,
        clock=lambda: Moment(round(clock.now * 1000), 0),
        log_region=100,
        read_seconds_per_byte=0.0,
    )
    firmware.append_log(MORE)
    host = Host(firmware)
    clock.pass_time(3)
    [(_, first)] = host.ack(0)
    clock.pass_time(4)
    [(_, second)] = host.ack(16)
    assert LogHeader.parse(first.payload + second.payload).anchor_tick == 3000


# 12


def test_the_log_stays_until_its_dump_is_done(clock):
    firmware, host = connected(clock, LOG, DUMP)
    host.fetch(LOG_DATA)
    host.ack(100)
    clock.pass_time(0.2)
    firmware.disconnect()
    assert Host(firmware).ack(0) == [(LOG_DATA, (0, 100, LOG[:16]))]


# 13


def test_the_signal_strength_is_measured_by_the_tick_and_stays_until_the_next(clock):
    firmware, _ = connected(clock)
    assert firmware.read_rssi() == b"\0"
    clock.pass_time(2)
    assert firmware.read_rssi() == b"\xc4"
    firmware.disconnect()
    firmware.rssi = -70
    clock.pass_time(20)
    Host(firmware)
    assert firmware.read_rssi() == b"\xc4"
    clock.pass_time(2)
    assert firmware.read_rssi() == b"\xba"
    firmware.reset()
    assert firmware.read_rssi() == b"\0"


# 14


def test_what_waits_for_a_trigger_goes_into_the_log_when_a_transfer_begins(clock):
    firmware, host = connected(clock, LOG)
    firmware.remember(MORE)
    assert firmware.log == LOG
    assert host.fetch(LOG_DATA)[HEADER:] == LOG[HEADER:] + MORE
    firmware.disconnect()
    assert Host(firmware).fetch(LOG_DATA)[HEADER:] == LOG[HEADER:] + MORE


# Identification and configuration


def test_a_string_that_does_not_fit_is_missing_without_a_sign(clock):
    long = DeviceIdentity(1, "S1", "x" * 60, "v" * 60, "abc")
    identity = parse_identification(Firmware(long, schedule=clock).read_config())
    assert identity == DeviceIdentity(1, "S1", "x" * 60)


def test_it_takes_a_log_configuration(clock):
    firmware = Firmware(DEVICE, schedule=clock, read_seconds_per_byte=0.0)
    config = LogConfig(2, 0x80000001, 3600)
    firmware.write_log_config(config.pack())
    assert firmware.log_config == config


# 15


def test_a_chunk_of_a_full_log_costs_the_device_some_milliseconds(clock):
    firmware, host = connected(
        clock, sample_log(16 * 1024), read_seconds_per_byte=READ_SECONDS_PER_BYTE
    )
    assert host.ack(0) == []
    clock.pass_time(0.0049)
    assert host.heard == []
    clock.pass_time(0.0031)
    assert len(host.heard) == 1
    assert firmware.requests == 1


def test_requests_wait_for_one_another_and_the_erase_command_for_all(clock):
    firmware, host = connected(clock, LOG, read_seconds_per_byte=0.001)
    for offset in (0, 16, 32, len(LOG)):
        firmware.write_ack(encode_ack(offset))
    clock.pass_time(0.25)
    assert [chunk.offset for _, chunk in host.heard] == [0, 16]
    assert firmware.log
    clock.pass_time(0.06)
    assert [chunk.offset for _, chunk in host.heard] == [0, 16, 32]
    assert not firmware.log


def test_a_chunk_of_a_dump_costs_nothing(clock):
    _, host = connected(clock, b"", DUMP, read_seconds_per_byte=READ_SECONDS_PER_BYTE)
    assert host.ack(0) == [(CORE_DUMP_DATA, (0, 300, DUMP[:16]))]


def test_a_disconnect_ends_what_the_device_computes(clock):
    firmware, host = connected(clock, LOG, read_seconds_per_byte=0.001)
    firmware.write_ack(encode_ack(0))
    firmware.disconnect()
    clock.pass_time(1.0)
    assert host.heard == []
    again = Host(firmware)
    assert again.ack(0) == []
    clock.pass_time(0.1)
    assert len(again.heard) == 1
