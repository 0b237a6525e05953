"""Small programs for a Cortex-M4: compiled here, run on an emulated processor until they fault.

The compiler and the debugger that judges are the distribution's (``script/setup``).
"""

import io
import re
import struct
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError, arm_const

from . import made_captures as made

PROGRAMS = Path(__file__).parents[1] / "fixtures" / "programs"
RAM, RAM_SIZE = 0x2000_0000, 0x10000
STACK_TOP = RAM + RAM_SIZE
PRECISE_BUS_FAULT = 1 << 9 | 1 << 15
ESCALATED = 1 << 30
_REGISTERS = [
    *(getattr(arm_const, f"UC_ARM_REG_R{number}") for number in range(13)),
    arm_const.UC_ARM_REG_SP,
    arm_const.UC_ARM_REG_LR,
    arm_const.UC_ARM_REG_PC,
]


@cache
def program(*flags: str, name: str = "pump") -> bytes:
    """Compile and link one of the programs for a Cortex-M4."""
    with TemporaryDirectory() as folder:
        image = Path(folder) / "program.elf"
        subprocess.run(
            [
                *("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-ffreestanding"),
                *("-nostdlib", "-Wl,-Tlink.ld", "-Wl,--gc-sections", "-ffunction-sections"),
                *(*flags, f"{name}.c", "-o", str(image)),
            ],
            cwd=PROGRAMS,
            check=True,
        )
        return image.read_bytes()


def tool(name: str, image: bytes, *arguments: str) -> bytes:
    """Run a tool that changes an image in place, such as objcopy or strip."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "program.elf"
        path.write_bytes(image)
        subprocess.run([f"arm-none-eabi-{name}", *arguments, str(path)], check=True)
        return path.read_bytes()


@cache
def symbol(image: bytes, name: str) -> int:
    """The address of a symbol."""
    table = ELFFile(io.BytesIO(image)).get_section_by_name(".symtab")
    return table.get_symbol_by_name(name)[0]["st_value"] & ~1  # type: ignore[no-any-return]


@cache
def crash(
    image: bytes, *, stop_at: int | None = None, stack: int | None = None, after: int = 0
) -> bytes:
    """Run a program until it faults, or for so many instructions, and return its core dump.

    ``stack`` limits how many bytes of the stack are in the dump.
    """
    processor = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
    elf = ELFFile(io.BytesIO(image))
    processor.mem_map(0x0800_0000, 0x10_0000)
    processor.mem_map(RAM, RAM_SIZE)
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
            processor.mem_write(segment["p_vaddr"], segment.data())
    processor.reg_write(arm_const.UC_ARM_REG_SP, STACK_TOP)
    processor.reg_write(arm_const.UC_ARM_REG_LR, 0xFFFF_FFFF)
    cfsr = 0
    try:
        processor.emu_start(
            symbol(image, "reset") | 1, stop_at or 0xFFFF_FFFE, count=after or 1_000_000
        )
    except UcError:
        cfsr = PRECISE_BUS_FAULT
    registers = [processor.reg_read(number) for number in _REGISTERS]
    sp = registers[13]
    end = STACK_TOP if stack is None else min(sp + stack, STACK_TOP)
    return dump_of(registers, [(sp, bytes(processor.mem_read(sp, end - sp)))], cfsr)


def dump_of(registers: list[int], regions: list[tuple[int, bytes]], cfsr: int = 0) -> bytes:
    """A core dump of r0 to pc, and memory."""
    body = b"\x63\x43\x03\x00" + struct.pack(
        "<21I", 0, *registers, 1 << 24, registers[13], 0, 0x0100_0003
    )
    status = struct.pack("<5I", cfsr, ESCALATED if cfsr else 0, 0, 0, registers[0])
    for start, data in [*regions, (0xE000_ED28, status)]:
        body += struct.pack("<II", start, start + len(data)) + data
    return made.core_dump(body)


def debugger(image: bytes, core: bytes | None, *commands: str) -> str:
    """What gdb prints for some commands."""
    with TemporaryDirectory() as folder:
        elf = Path(folder) / "program.elf"
        elf.write_bytes(image)
        arguments = ["gdb-multiarch", "-nx", "-batch", "-q", str(elf)]
        if core is not None:
            path = Path(folder) / "program.core"
            path.write_bytes(core)
            arguments += ["-c", str(path)]
        for command in commands:
            arguments += ["-ex", command]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        return done.stdout


_FRAME = re.compile(r"^#\d+ +(?:0x([0-9a-f]+) in )?(\w+) \([^)]*\)(?: at (\S+:\d+))?", re.MULTILINE)


def backtrace(image: bytes, core: bytes) -> list[tuple[str, str]]:
    """Function and place of each of gdb's frames, the innermost first."""
    said = debugger(image, core, "set backtrace past-main on", "echo #begin\\n", "bt")
    return [(found[2], found[3]) for found in _FRAME.finditer(said.partition("#begin")[2])]
