"""Log buffers as a firmware agent would write them, from protocol.md alone.

It shares nothing with the code that reads them: no struct layout, no enum, no checksum.
"""

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

NUMBERS = {"int": 1, "uint": 2, "int64": 3, "uint64": 4, "pointer": 5, "char": 6, "double": 7}
SIGNED = {"int", "int64"}
BITS = {"int": 32, "uint": 32, "int64": 64, "uint64": 64, "pointer": 32, "char": 8}


@dataclass(frozen=True)
class Said:
    """One frame: what the firmware called its logger with. Arguments are (type, value)."""

    ticks: int
    level: int
    module: int
    address: int
    arguments: tuple[tuple[str, int | float | str], ...] = ()


@dataclass(frozen=True)
class Log:
    """What a log buffer holds; ``wide`` stores numbers in as many bytes as they could take."""

    said: tuple[Said, ...]
    version: int = 4
    token: int = 0
    sequence: int = 0
    anchor: int = 0
    rate: int = 32768
    epoch_us: int = 0
    trailer: bytes = b""
    wide: bool = field(default=False, kw_only=True)

    def encoded(self) -> bytes:
        data = b"".join(frame(said, wide=self.wide) for said in self.said)
        checksum = 0
        for byte in data:
            checksum ^= byte
        head = bytes([self.version]) + little(self.token, 4)
        if self.version < 3:
            head += little(self.sequence, 4)
        else:
            head += little(self.anchor, 4) + little(self.rate, 4)
        if self.version >= 4:
            head += little(self.epoch_us, 8)
        return head + little(len(data), 2) + little(checksum, 2) + data + self.trailer

    def truncated(self, frames: int) -> Log:
        return replace(self, said=self.said[:frames])


def little(value: int, width: int) -> bytes:
    return bytes(value >> 8 * place & 0xFF for place in range(width))


def frame(said: Said, *, wide: bool = False) -> bytes:
    body = bytes([said.level << 5 | said.module]) + little(said.address, 4)
    body += bytes([len(said.arguments)])
    values = b""
    for kind, value in said.arguments:
        descriptor, stored = argument(kind, value, wide=wide)
        body += bytes([descriptor])
        values += stored
    body += values
    texts = [str(value).encode() for kind, value in said.arguments if kind == "string"]
    if texts:
        joined = b"".join(little(len(text), 2) + text for text in texts)
        body += little(len(texts), 2) + little(len(joined), 2) + joined
    return little(len(body), 2) + little(said.ticks, 4) + body


def argument(kind: str, value: float | str, *, wide: bool) -> tuple[int, bytes]:
    """Descriptor and stored value."""
    if kind == "string":
        return 0x80, b""
    if kind == "double":
        assert isinstance(value, float)
        return 0x78, double(value)
    number = ord(value) if isinstance(value, str) else int(value)
    widths = [BITS[kind] // 8] if wide else [1, 2, 4, 8]
    width = next(width for width in widths if fits(number, width, signed=kind in SIGNED))
    return NUMBERS[kind] << 4 | width, little(number, width)


def fits(number: int, width: int, *, signed: bool) -> bool:
    half = 1 << (8 * width - 1)
    return -half <= number < half if signed else 0 <= number < 2 * half


def double(value: float) -> bytes:
    """IEEE 754, put together by hand."""
    if value != value:
        return little(0x7FF8 << 48, 8)
    text = value.hex()
    sign = text.startswith("-")
    if "inf" in text:
        return little((0x7FF | sign << 11) << 52, 8)
    mantissa, exponent = text.lstrip("-")[2:].split("p")
    whole, _, fraction = mantissa.partition(".")
    bits = int(fraction.ljust(13, "0"), 16)
    biased = int(exponent) + 1023 if whole == "1" else 0
    return little(sign << 63 | biased << 52 | bits, 8)


arguments = st.one_of(
    st.tuples(st.just("int"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just("uint"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("int64"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("uint64"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("pointer"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("char"), st.characters(max_codepoint=255)),
    st.tuples(st.just("double"), st.floats(allow_nan=False)),
    st.tuples(st.just("string"), st.text(max_size=20)),
)
said = st.builds(
    Said,
    ticks=st.integers(0, 2**32 - 1),
    level=st.integers(0, 5),
    module=st.integers(0, 31),
    address=st.integers(0, 2**32 - 1),
    arguments=st.lists(arguments, max_size=8).map(tuple),
)
logs = st.builds(
    Log,
    said=st.lists(said, max_size=12).map(tuple),
    version=st.integers(1, 6),
    token=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**32 - 1),
    anchor=st.integers(0, 2**32 - 1),
    rate=st.sampled_from([0, 1, 100, 1000, 32768, 2**32 - 1]),
    epoch_us=st.one_of(st.just(0), st.integers(0, 2**64 - 1)),
    trailer=st.binary(max_size=8),
    wide=st.booleans(),
)
