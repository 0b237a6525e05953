"""Topics of one customer's group. A serial is the only part that a device chooses."""

from dataclasses import dataclass

from ...model.identity import DeviceKey
from ..errors import InvalidSerial

LONGEST_AT_AWS = 256
"""Bytes of a topic that AWS IoT Core takes; it closes the connection on a longer one."""
LONGEST = 65_535
"""Bytes of a topic that MQTT can carry."""
_STRUCTURE = frozenset("/+#\0")
_LONGEST_SERIAL = 256
_LARGEST_ID = 0xFFFF_FFFF


def checked_serial(serial: str) -> str:
    """Return a serial that is exactly one level of a topic; raises InvalidSerial."""
    if not serial or len(serial) > _LONGEST_SERIAL:
        raise InvalidSerial(f"a serial of {len(serial)} characters can't be part of a topic")
    if not _STRUCTURE.isdisjoint(serial) or not serial.isprintable():
        raise InvalidSerial(f"the serial {serial!r} would change the structure of a topic")
    return serial


def device_of(topic: str) -> DeviceKey | None:
    """Return whom a topic ``.../application/serial`` is for."""
    _, application, serial = ("", "", *topic.rsplit("/", 2))[-3:]
    if not (application.isascii() and application.isdecimal()) or len(application) > 10:
        return None
    return (int(application), serial) if int(application) <= _LARGEST_ID else None


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics of customer ``c`` and group ``g`` (0 = no groups), each behind ``prefix``.

    The prefix is empty on uLogger's own broker; a bridge maps it from another one.
    ``longest`` is how many bytes of a topic the cloud's broker takes, without the prefix.
    """

    customer_id: int
    group_id: int = 0
    prefix: str = ""
    longest: int = LONGEST_AT_AWS

    def boot(self, application_id: int) -> str:
        """Registrations, from a device to the cloud."""
        return self._of_application("boot", application_id)

    def boot_reply(self, key: DeviceKey) -> str:
        """Session tokens, from the cloud to one device."""
        return self._of_device("boot", key)

    @property
    def boot_replies(self) -> str:
        """Session tokens for all devices of the group."""
        return f"{self._group('boot')}/+/+"

    def registers(self, topic: str) -> bool:
        """Whether a topic is one that devices are registered on."""
        return topic.startswith(f"{self._group('boot')}/")

    def binary_log(self, application_id: int) -> str:
        """Log buffers."""
        return self._of_application("binlog", application_id)

    @property
    def core_dump(self) -> str:
        """Core dumps; they name their device themselves."""
        return self._group("core-dump")

    def telemetry(self, kind: str, application_id: int) -> str:
        """``metrics`` or ``events``."""
        return self._of_application(kind, application_id)

    def log_config(self, key: DeviceKey) -> str:
        """Log configurations, from the cloud to one device."""
        return self._of_device("config", key)

    @property
    def log_configs(self) -> str:
        """Log configurations for all devices of the group."""
        return f"{self._group('config')}/+/+"

    def text_logs(self, application_id: int) -> str:
        """Text logs; their topic is older than groups and has none."""
        return f"{self.prefix}logs/v0/{self.customer_id}/{application_id}"

    def _group(self, kind: str) -> str:
        return f"{self.prefix}{kind}/v0/{self.customer_id}/{self.group_id}"

    def _of_application(self, kind: str, application_id: int) -> str:
        return f"{self._group(kind)}/{application_id}"

    def _of_device(self, kind: str, key: DeviceKey) -> str:
        application_id, serial = key
        topic = f"{self._group(kind)}/{application_id}/{checked_serial(serial)}"
        if (size := len(topic.removeprefix(self.prefix).encode())) > self.longest:
            raise InvalidSerial(
                f"a serial of {len(serial.encode())} bytes makes a topic of {size}; "
                f"the broker takes {self.longest}"
            )
        return topic
