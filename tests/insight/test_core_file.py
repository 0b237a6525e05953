"""A core file is right when the debugger shows what the dump holds."""

import re
from pathlib import Path

import pytest

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.insight.core_file import NoMachineState, core_file

from ..support import made_captures as made
from ..support.arm_programs import crash, debugger, program
from ..support.fixtures import RealCapture, real_core_dumps


def shown(text: str) -> dict[str, int]:
    return {
        name: int(value, 16)
        for name, value in re.findall(r"^(\w+) +(0x[0-9a-f]+)", text, re.MULTILINE)
    }


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_the_debugger_shows_registers_memory_and_place_of_a_real_dump(capture: RealCapture) -> None:
    dump = CoreDump.parse(capture.data)
    core = core_file(dump)
    found = shown(debugger(capture.image, core, "info registers"))
    for name in (*(f"r{number}" for number in range(13)), "sp", "lr", "pc"):
        assert found[name] == dump.registers[name]
    for region in dump.regions:
        said = debugger(capture.image, core, f"x/{len(region.data)}xb {region.start:#x}")
        said = said[said.rindex(f"{region.start:#x}") :]
        values = re.findall(r"\t0x([0-9a-f]{2})", said)
        assert bytes(int(value, 16) for value in values) == region.data
    assert "read_register" in debugger(capture.image, core, "bt")
    assert "SIGBUS" in debugger(capture.image, core)


def description() -> str:
    """A target with floating point, which gdb does not know from the image alone."""
    names = [*(f"r{number}" for number in range(13)), "sp", "lr", "pc"]
    core = "".join(f'<reg name="{name}" bitsize="32"/>' for name in names)
    core += '<reg name="xpsr" bitsize="32" regnum="25"/>'
    floats = "".join(f'<reg name="d{n}" bitsize="64" type="ieee_double"/>' for n in range(16))
    floats += '<reg name="fpscr" bitsize="32" type="int" group="float"/>'
    return (
        '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>'
        "<architecture>arm</architecture>"
        f'<feature name="org.gnu.gdb.arm.m-profile">{core}</feature>'
        f'<feature name="org.gnu.gdb.arm.vfp">{floats}</feature></target>'
    )


def test_the_debugger_shows_floating_point_registers(tmp_path: Path) -> None:
    capture = real_core_dumps()[1]
    dump = CoreDump.parse(capture.data)
    target, core = tmp_path / "target.xml", tmp_path / "program.core"
    target.write_text(description())
    core.write_bytes(core_file(dump))
    values = [f"info registers d{number}" for number in range(16)]
    said = debugger(
        capture.image, None, f"set tdesc filename {target}", f"core-file {core}", *values
    )
    found = [int(value, 16) for value in re.findall(r"raw (0x[0-9a-f]+)", said)]
    singles = [dump.float_registers[f"s{number}"] for number in range(32)]
    assert any(singles)
    assert found == [
        low | high << 32 for low, high in zip(singles[::2], singles[1::2], strict=True)
    ]


def test_locals_are_shown_from_the_dumped_stack() -> None:
    data = program("-Og", "-g")
    core = core_file(CoreDump.parse(crash(data)))
    said = debugger(data, core, "frame function pump", "p buffer")
    assert "{3, 4, 5, 6, 7, 8, 9, 10}" in said


def test_a_dump_without_registers_is_refused() -> None:
    with pytest.raises(NoMachineState) as refused:
        core_file(CoreDump.parse(made.core_dump(b"other", version=9)))
    assert refused.value.reason == "no_machine_state"
