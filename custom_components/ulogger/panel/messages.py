"""What the panel and Home Assistant say to each other: the one description of both sides.

``script/panel build`` makes the panel's TypeScript types of these classes. All times are Unix
seconds; ``device`` is always the ID of a device in Home Assistant's registry, ``account`` that of
a config entry. What a device wrote is text and nothing else.
"""

from typing import Literal, NotRequired, TypedDict

type LevelName = Literal[
    "debug", "info", "warning", "error", "critical", "metric", "reserved_6", "reserved_7"
]
type CrashStateName = Literal["open", "resolved", "ignored", "regressed"]
type PersonsState = Literal["open", "resolved", "ignored"]
type PhaseName = Literal[
    "idle", "connecting", "waiting_for_slot", "downloading", "live", "waiting_for_cloud", "error"
]
type Value = int | float | str | bool


class LogFilter(TypedDict):
    """Which frames are looked for; what is left out does not matter."""

    devices: NotRequired[list[str]]
    level: NotRequired[LevelName]
    """The lowest severity; ``metric`` finds metrics alone."""
    module: NotRequired[str]
    """A number or a name."""
    contains: NotRequired[str]
    since: NotRequired[float]
    until: NotRequired[float]


class Frame(TypedDict):
    """One line of a log."""

    key: str
    """The same whenever the frame is sent: account, capture and number."""
    account: str
    capture: int
    number: int
    device: str
    at: float
    """When it was logged; when its capture arrived where that is not known."""
    uncertainty: float | None
    """Seconds by which the time may be wrong; null where it is that of the arrival."""
    level: LevelName
    module: int
    module_name: str | None
    message: str
    firmware: str


class Argument(TypedDict):
    """One value of a frame."""

    type: str
    value: Value


class LogPlace(TypedDict):
    """A function, and file name with line."""

    function: str | None
    location: str | None


class FrameDetails(TypedDict):
    """All that is known of one frame."""

    frame: Frame
    address: int
    arguments: list[Argument]
    format: str | None
    places: list[LogPlace]
    """Where in the source it is logged, as far as the image tells: maybe one of several."""
    download: str
    """A signed path of the capture."""
    before: list[Frame]
    after: list[Frame]


class Failure(TypedDict):
    """An error as Home Assistant's frontend takes it; the key is of a text among *exceptions*."""

    code: str
    message: str
    translation_domain: str
    translation_key: str
    translation_placeholders: dict[str, str]


class SearchEvent(TypedDict):
    """A piece of a search's answer, the newest frames first over all pieces."""

    frames: list[Frame]
    opened: int
    """Captures that were looked at, of ``captures``."""
    captures: int
    done: bool
    more: bool
    """Whether the search ended at its limit."""
    failure: Failure | None
    """Why it ended before it was through."""


class LiveEvent(TypedDict):
    """Frames of captures that came just now, the newest first."""

    frames: list[Frame]


class CrashGroup(TypedDict):
    """Crashes that are one and the same."""

    account: str
    fingerprint: str
    reason: str
    """All of it in English; people are told the kind of fault and the place."""
    fault_kind: str
    """Empty where an earlier version stored only ``reason``."""
    place: str
    state: CrashStateName
    count: int
    first_seen: float
    last_seen: float
    devices: list[str]
    """Names, also of devices that are gone."""
    versions: list[str]
    days: list[int]
    """How often it happened on each of the last 14 days, today last."""


class BacktraceFrame(TypedDict):
    """One function of a backtrace."""

    address: int
    function: str | None
    location: str | None
    certainty: str
    inlined: bool


class FaultBit(TypedDict):
    """One set bit of a fault status register; the panel's texts explain its name."""

    register: str
    bit: int
    name: str


class Memory(TypedDict):
    """A piece of memory as base64."""

    start: int
    data: str


class Symbol(TypedDict):
    """A name for a piece of memory."""

    address: int
    size: int
    name: str


class CrashOccurrence(TypedDict):
    """One crash of one device."""

    account: str
    capture: int | None
    """Null where its core dump is no longer kept."""
    device: str | None
    device_name: str
    version: str
    at: float
    reason: str
    fault_kind: str
    place: str


class CrashDetails(TypedDict):
    """All that is known of one crash."""

    occurrence: CrashOccurrence
    application_id: int
    git_hash: str
    fault: str
    fault_address: int | None
    bits: list[FaultBit]
    registers: dict[str, int]
    backtrace: list[BacktraceFrame]
    has_image: bool
    memory: list[Memory]
    symbols: list[Symbol]
    led_to_it: list[Frame]
    download: str
    core: str | None
    """A signed path of an ELF core file for a debugger."""


class AddedImage(TypedDict):
    """A firmware image that was taken in, and whether it took another one's place."""

    title: str
    replaced: bool


class WaitingCaptures(TypedDict):
    """What waits at one destination."""

    destination: str
    name: str
    waiting: int


class MetricSeries(TypedDict):
    """A metric's newest values, the newest last."""

    name: str
    unit: str | None
    points: list[tuple[float, float]]


class Device(TypedDict):
    """One device as the panel's table shows it."""

    device: str
    account: str
    name: str
    serial: str
    application_id: int
    version: str
    has_image: bool
    state: PhaseName
    progress: float | None
    """Part of the transfer that is done, from 0 to 1, while it runs."""
    in_range: bool
    last_seen: float | None
    rssi: int | None
    metrics: list[MetricSeries]
    errors_24h: int
    crashes_24h: int
    waiting: list[WaitingCaptures]
    next_collection: float | None
    collect: bool
    log_level: str | None
    live: bool | None
    """Null where live mode is not offered."""


class DevicesEvent(TypedDict):
    """Devices that are new or changed since the last event; the first ones hold all."""

    devices: list[Device]
    removed: list[str]


type MarkKind = Literal["session", "failed_session", "log", "core_dump", "reboot", "firmware"]


class TimelineMark(TypedDict):
    """Something that happened to a device."""

    at: float
    kind: MarkKind
    text: str
    until: float | None
    why: str
    """The kind of fault of a crash, whose place is the text; what a session failed of; or empty."""
    levels: dict[str, int]
    """How many lines of which level a log has, as far as it was read."""


class Timeline(TypedDict):
    """What happened to a device, and what it measured."""

    device: str
    since: float
    until: float
    marks: list[TimelineMark]
    metrics: list[MetricSeries]
