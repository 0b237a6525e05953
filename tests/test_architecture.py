"""The house: which room may import which, and that a newcomer finds a thing where it should be.

The rules stand in docs/architecture.md.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import custom_components.ulogger

PACKAGE = Path(custom_components.ulogger.__file__).parent
TESTS = Path(__file__).parent
FLOORS = {
    "model": 0,
    "capture": 1,
    "firmware": 2,
    "insight": 3,
    "agent": 4,
    "outbox": 4,
    "cloud": 4,
    "radio": 4,
    "account": 5,
    "collecting": 6,
    "sending": 6,
    "coordinator": 7,
    "gateway": 8,
    "flows": 9,
    "actions": 9,
    "assistant": 9,
    "panel": 9,
    "entity": 9,
    "entities": 10,
    "top": 11,
}
"""Arrows point from a floor to a lower one; the rooms of one floor don't know each other."""
PEERS = {
    ("top", "actions"),
    ("top", "assistant"),
    ("top", "flows"),
    ("top", "panel"),
    ("actions", "top"),
    ("assistant", "top"),
    ("actions", "panel"),
    ("panel", "top"),
    ("panel", "actions"),
}
FORBIDDEN = {("outbox", "insight"), ("agent", "insight")}
OF_FLOWS = {"account", "cloud", "model", "flows"}
PURE = {"model", "capture", "firmware", "insight", "agent", "outbox", "radio", "cloud"}
FOR_ALL = {"const"}
SHARED_BY_CLOUDS = {"mqtt"}
MOST_AT_THE_TOP = 22
LONGEST_FILE = 500


@dataclass(frozen=True)
class Arrow:
    """One module's import of another."""

    source: tuple[str, ...]
    target: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'.'.join(self.source)} -> {'.'.join(self.target)}"


def modules() -> Iterator[tuple[Path, tuple[str, ...]]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield path, parts


def room(module: tuple[str, ...]) -> str:
    """The room of a module; a module at the top is in the room *top*, but for those below it."""
    if len(module) > 1 or (PACKAGE / module[0]).is_dir():
        return module[0]
    return module[0] if module[0] in {"coordinator", "entity"} else "top"


def imports(path: Path, module: tuple[str, ...]) -> Iterator[str]:
    """Every import in a file as an absolute dotted name, wherever it stands in it."""
    package = module
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
                continue
            base = package[: len(package) - node.level]
            inside = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                yield ".".join(["", *inside, alias.name])


def as_module(name: str) -> tuple[str, ...]:
    """The module that a name within the package is in."""
    parts = tuple(part for part in name.split(".") if part)
    while parts and not (
        (PACKAGE.joinpath(*parts)).with_suffix(".py").exists()
        or (PACKAGE.joinpath(*parts) / "__init__.py").exists()
    ):
        parts = parts[:-1]
    return parts or ("__init__",)


def arrows() -> Iterator[Arrow]:
    own = "custom_components.ulogger."
    for path, module in modules():
        for name in imports(path, module):
            if name.startswith("."):
                yield Arrow(module, as_module(name))
            elif name.startswith(own):
                yield Arrow(module, as_module(name.removeprefix(own)))


def is_allowed(arrow: Arrow) -> bool:
    if arrow.target[0] in FOR_ALL and room(arrow.source) not in PURE:
        return True
    source, target = room(arrow.source), room(arrow.target)
    if source == target:
        return source != "cloud" or _between_clouds(arrow)
    if source == "flows":
        return target in OF_FLOWS
    if (source, target) in FORBIDDEN:
        return False
    return FLOORS[target] < FLOORS[source] or (source, target) in PEERS


def _between_clouds(arrow: Arrow) -> bool:
    """A cloud imports what all share, and nothing of another cloud."""
    source = arrow.source[1] if len(arrow.source) > 2 else None
    target = arrow.target[1] if len(arrow.target) > 2 else None
    return target is None or source == target or (target in SHARED_BY_CLOUDS and source is not None)


def test_every_arrow_points_down() -> None:
    assert not sorted(str(arrow) for arrow in arrows() if not is_allowed(arrow))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("collecting.collection", "sending.delivery"),
        ("cloud.folder.folder", "cloud.ulogger.cloud"),
        ("cloud.mqtt.client", "cloud.ulogger.cloud"),
        ("cloud.errors", "cloud.folder.folder"),
        ("outbox.records", "insight.text"),
        ("agent.session", "outbox.outbox"),
        ("coordinator", "gateway.gateway"),
        ("account.account", "coordinator"),
        ("model.capture", "const"),
        ("flows.account_checks", "gateway.gateway"),
        ("gateway.gateway", "sensor"),
    ],
)
def test_an_arrow_that_is_forbidden_would_be_noticed(source: str, target: str) -> None:
    assert not is_allowed(Arrow(tuple(source.split(".")), tuple(target.split("."))))


def test_pure_rooms_import_nothing_of_home_assistant() -> None:
    found = [
        f"{'.'.join(module)} -> {name}"
        for path, module in modules()
        if room(module) in PURE
        for name in imports(path, module)
        if name.split(".")[0] in {"homeassistant", "probatio", "voluptuous"}
    ]
    assert not found


def test_every_room_has_a_floor() -> None:
    assert {room(module) for _, module in modules()} <= FLOORS.keys()


def test_the_top_holds_only_what_home_assistant_demands() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_THE_TOP


def test_files_are_small_enough_to_be_read_from_top_to_bottom() -> None:
    long = [path.name for path, _ in modules() if len(path.read_text().splitlines()) > LONGEST_FILE]
    assert not long


def test_the_tests_stand_in_the_rooms_of_what_they_test() -> None:
    rooms = {
        path.name for path in TESTS.iterdir() if path.is_dir() and not path.name.startswith("_")
    }
    others = {
        "support",
        "fixtures",
        "browser",
        "demo",
        "bench",
        "chaos",
        "decode",
        "fuzz",
        "powercut",
        "conformance",
    }
    assert rooms - others <= FLOORS.keys()
