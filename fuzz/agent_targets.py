"""The room of the device protocol: what a device sends over Bluetooth."""

from custom_components.ulogger.agent.errors import AgentError
from custom_components.ulogger.agent.packets import (
    encode_identification,
    parse_ack,
    parse_chunk,
    parse_identification,
    parse_rssi,
)
from custom_components.ulogger.model.log_config import LogConfig

from .target import Target


def _chunk(data: bytes) -> object:
    return parse_chunk(data), parse_ack(data), parse_rssi(data)


def _identification(data: bytes) -> object:
    identity = parse_identification(data)
    if set("/+#\\\0\r\n\x1b") & set(identity.serial) or not identity.serial:
        raise AssertionError(f"serial {identity.serial!r} changes a topic or a path")
    if parse_identification(encode_identification(identity)).key != identity.key:
        raise AssertionError("an identity that does not survive the wire")
    return identity


def _identities() -> list[bytes]:
    whole = b"\x2a\0\0\0A87DE76F0011\0DoorSenseV2\0004.24.2\0bc53443\0"
    return [whole, whole[:17], b"\x2a\0\0\0a/b\0", "\x2a\0\0\0grün\0".encode()]


TARGETS = (
    Target("chunk", _chunk, (AgentError,), lambda: [bytes((16, 0, 32, 0)) + bytes(16)], 600),
    Target("identification", _identification, (AgentError,), _identities, 600),
    Target(
        "log_config",
        LogConfig.unpack,
        (ValueError,),
        lambda: [bytes((1, 255, 255, 255, 255, 60, 0, 0, 0))],
        64,
    ),
)
