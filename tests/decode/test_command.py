"""script/decode: what it prints, and what it says when something is wrong."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from custom_components.ulogger.cloud.folder.writing import prepare, store
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from decode import command, files

from ..support import encoder
from ..support import made_captures as made
from ..support.arm_programs import crash, debugger, program, tool
from ..support.fixtures import AGENT, SETS, real_captures, real_core_dumps, real_log

ROOT = Path(__file__).parents[2]
V4 = AGENT / "v4-crash"
LOG, DUMP, ELF = str(V4 / "log.bin"), str(V4 / "core_dump.bin"), str(V4 / "firmware.elf")

type Decode = Callable[..., tuple[int, str, str]]


@pytest.fixture
def decode(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Decode:
    """Runs the command; gives exit status, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["script/decode", *arguments])
        try:
            status = command.main()
        except SystemExit as error:
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("name", SETS)
def test_json_is_what_was_decoded_independently_to_the_byte(decode: Decode, name: str) -> None:
    folder = AGENT / name
    found = [str(path) for path in sorted(folder.glob("*.bin"))]
    status, out, err = decode("--json", "--symbols", str(folder / "firmware.elf"), *found)
    assert (status, err) == (0, "")
    assert out == f"{(folder / 'expected.json').read_text().rstrip()}\n"


def without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        unknown = {"format", "text", "pc_symbol", "lr_symbol"}
        return {k: None if k in unknown else without_texts(v) for k, v in value.items()}
    return [without_texts(each) for each in value] if isinstance(value, list) else value


def test_without_symbols_the_fields_are_the_same_and_texts_are_null(decode: Decode) -> None:
    _, out, _ = decode("--json", LOG, DUMP)
    expected = json.loads((V4 / "expected.json").read_text())
    assert json.loads(out) == {
        name: without_texts(expected[name]) for name in ("log.bin", "core_dump.bin")
    }


def test_the_real_command_runs_anywhere_and_needs_no_home_assistant(tmp_path: Path) -> None:
    program = (
        "import runpy, sys; sys.argv = ['decode', '--json', sys.argv[1]]\n"
        "try: runpy.run_module('decode', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: status = end.code\n"
        "assert not status, status\n"
        "assert not any(name.split('.')[0] == 'homeassistant' for name in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, LOG],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["log.bin"]["length"] == 2237


def test_files_of_one_name_are_told_apart_by_their_paths(decode: Decode) -> None:
    other = str(AGENT / "v3-crash" / "log.bin")
    _, out, _ = decode("--json", LOG, other, DUMP)
    assert list(json.loads(out)) == [LOG, other, "core_dump.bin"]


def test_standard_input_is_a_dash(decode: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, real_core_dumps()[0].data)
    status, out, _ = decode("--json", "-")
    assert status == 0
    assert json.loads(out)["-"]["registers"]["pc"] == 102


def test_text_tells_time_level_module_and_message(decode: Decode) -> None:
    status, out, _ = decode("--symbols", ELF, LOG)
    heading, first, *_ = out.splitlines()
    assert status == 0
    assert heading == "log.bin, log, version 4, 2237 bytes, 102 frames"
    assert first == ("2026-11-21T01:41:30.972Z INFO     MAIN: System initialized, reset cause 2")
    assert "\x1b" not in out


def test_text_of_a_core_dump_tells_the_place(decode: Decode) -> None:
    _, out, _ = decode("--symbols", ELF, DUMP)
    assert "pc 0x0000007a in read_register (session.c:3)" in out.splitlines()


@pytest.mark.parametrize(
    ("options", "levels", "modules"),
    [
        (["--level", "error"], {"ERROR", "CRITICAL"}, {2, 4}),
        (["--level", "CRITICAL"], {"CRITICAL"}, {4}),
        (["--level", "3", "--module", "comm"], {"ERROR"}, {2}),
        (["--level", "metric"], {"METRIC"}, {31}),
        (["--module", "4"], {"CRITICAL"}, {4}),
    ],
)
def test_frames_are_chosen_by_level_and_module(
    decode: Decode, options: list[str], levels: set[str], modules: set[int]
) -> None:
    _, out, _ = decode("--json", "--symbols", ELF, LOG, *options)
    frames = json.loads(out)["log.bin"]["frames"]
    assert {frame["level"] for frame in frames} == levels
    assert {frame["module_bit"] for frame in frames} == modules
    _, text, _ = decode("--symbols", ELF, LOG, *options)
    assert len(text.splitlines()) == 1 + len(frames)


def test_what_the_folder_destination_wrote_is_decoded(decode: Decode, tmp_path: Path) -> None:
    prepare(tmp_path)
    device = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
    arrived = datetime(2026, 11, 21, 1, 41, 32, tzinfo=UTC).timestamp()
    for number, kind in enumerate((CaptureKind.LOG, CaptureKind.CORE_DUMP)):
        data = (AGENT / "v3-crash" / f"{kind.value}.bin").read_bytes()
        store(tmp_path, Capture(kind, device, data, arrived), number)
    status, out, err = decode(str(tmp_path))
    assert (status, err) == (0, "")
    whose = "A87DE76F0011 DoorSenseV2 4.24.2 bc53443"
    assert f"-log.bin, log, version 3, 2229 bytes, 102 frames, {whose}" in out
    assert "2026-11-21T01:41:30.972Z ±5 s INFO" in out
    assert "-core_dump.bin, core dump, 460 bytes" in out
    files_there = sorted((tmp_path / device.serial).iterdir())
    assert {path.suffix for path in files_there} == {".bin", ".json"}
    assert decode(*map(str, files_there))[1] == out


def test_a_description_may_have_the_device_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(real_log("v4-crash").data)
    about = {"application_id": 42, "serial": "S1", "git_version": "4.24.2"}
    path.with_suffix(".json").write_text(json.dumps({"device": about, "captured_at": 5}))
    given = files.read_input(str(path), "a").capture
    assert given.device == DeviceIdentity(42, "S1", "", "4.24.2")
    assert given.captured_at == 5


def test_the_kind_that_stands_beside_a_file_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "x-1-core_dump.bin"
    path.write_bytes(made.core_dump(b"unknown", version=77) + b"more")
    assert files.read_input(str(path), "x").capture.kind is CaptureKind.LOG
    path.with_suffix(".json").write_text('{"serial": 5, "application_id": "x"}')
    assert files.read_input(str(path), "x").capture.kind is CaptureKind.CORE_DUMP
    path.with_suffix(".json").write_text('{"kind": "log", "captured_at": 5.5}')
    given = files.read_input(str(path), "x").capture
    assert (given.kind, given.captured_at) == (CaptureKind.LOG, 5.5)


@pytest.mark.parametrize(
    "beside",
    ["", "[]", "{", '{"captured_at": "soon"}', '{"device": 7}', "[" * 100_000, '{"kind": []}'],
)
def test_a_description_of_no_use_is_passed_over(tmp_path: Path, beside: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(real_log("v4-crash").data)
    path.with_suffix(".json").write_text(beside)
    given = files.read_input(str(path), "a").capture
    assert (given.kind, given.captured_at) == (CaptureKind.LOG, 0.0)


@pytest.mark.parametrize("capture", real_captures(), ids=str)
def test_logs_and_core_dumps_are_told_apart_by_what_is_in_them(capture: Any) -> None:
    is_dump = capture.name == "core_dump.bin"
    expected = CaptureKind.CORE_DUMP if is_dump else CaptureKind.LOG
    for cut in (len(capture.data), len(capture.data) - 1, 400):
        assert files.kind_of(capture.data[:cut]) is expected


@given(encoder.logs)
def test_a_log_is_never_taken_for_a_core_dump(log: encoder.Log) -> None:
    assert files.kind_of(log.encoded()) is CaptureKind.LOG


def test_a_core_dump_of_an_unknown_version_is_one_by_its_length() -> None:
    assert files.kind_of(made.core_dump(b"other", version=9)) is CaptureKind.CORE_DUMP
    assert files.kind_of(made.core_dump(b"other")) is CaptureKind.CORE_DUMP


def test_damage_is_told_after_what_could_be_read(decode: Decode, tmp_path: Path) -> None:
    cut = tmp_path / "cut.bin"
    cut.write_bytes(real_log("v4-crash").data[:1000])
    status, out, _ = decode(str(cut))
    assert status == 1
    assert out.splitlines()[-1].startswith("damaged: ")
    assert len(out.splitlines()) > 30
    status, out, _ = decode("--json", str(cut))
    assert status == 1
    said = json.loads(out)["cut.bin"]
    assert list(said) == ["header", "length", "frames", "damage"]
    assert said["damage"]["reason"] == "truncated_capture"


def test_a_damaged_core_dump_shows_what_is_left(decode: Decode, tmp_path: Path) -> None:
    data = real_core_dumps()[0].data
    for name, bytes_left in (("flipped", data[:-1] + b"\x01"), ("cut", data[:420])):
        (tmp_path / name).write_bytes(bytes_left)
        status, out, _ = decode("--json", str(tmp_path / name))
        said = json.loads(out)[name]
        assert (status, said["checksum_ok"]) == (1, False)
        assert said["device_serial"] == "A87DE76F0011"
        assert ("registers" in said) == (name == "flipped")
        _, out, _ = decode(str(tmp_path / name))
        assert "A87DE76F0011" in out
        assert out.splitlines()[-1].startswith("damaged: ")


def test_an_opaque_core_dump_has_only_its_header(decode: Decode, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(made.core_dump(b"other", version=9))
    status, out, _ = decode("--json", str(tmp_path / "new"))
    assert status == 0
    assert list(json.loads(out)["new"]) == ["length", "checksum", "checksum_ok", "version"]


@pytest.mark.parametrize("version", [1, 2])
def test_old_headers_have_their_own_fields(decode: Decode, tmp_path: Path, version: int) -> None:
    (tmp_path / "old").write_bytes(encoder.Log((), version=version, sequence=7).encoded())
    _, out, _ = decode("--json", str(tmp_path / "old"))
    assert json.loads(out)["old"]["header"] == {
        "version": version,
        "session_token": 0,
        "sequence_number": 7,
        "used_bytes": 0,
        "checksum": 0,
    }


@given(encoder.logs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_of_any_log_says_what_the_firmware_said(
    decode: Decode, tmp_path_factory: pytest.TempPathFactory, log: encoder.Log
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(log.encoded())
    status, out, _ = decode("--json", str(path))
    assert status == 0
    assert [
        encoder.Said(
            frame["tick_delta"],
            ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "METRIC"].index(frame["level"]),
            frame["module_bit"],
            frame["format_address"],
            tuple((kind, value) for kind, value in frame["args"]),
        )
        for frame in json.loads(out)["any.bin"]["frames"]
    ] == list(log.said)


def test_a_file_that_is_not_there_does_not_keep_the_others_from_being_read(
    decode: Decode, tmp_path: Path
) -> None:
    (tmp_path / "empty.bin").touch()
    status, out, err = decode("nowhere.bin", str(tmp_path / "empty.bin"), LOG)
    assert status == 1
    assert "102 frames" in out
    assert err.splitlines() == [
        "script/decode: nowhere.bin: No such file or directory",
        f"script/decode: {tmp_path / 'empty.bin'}: the file is empty",
    ]


def test_a_folder_without_captures_says_so(decode: Decode, tmp_path: Path) -> None:
    assert decode(str(tmp_path)) == (
        1,
        "",
        "script/decode: there is no .bin file in what was named\n",
    )


@pytest.mark.parametrize("arguments", [[], [LOG, "--level", "loud"], [LOG, "--level", "9"]])
def test_a_wrong_command_line_is_explained(decode: Decode, arguments: list[str]) -> None:
    status, out, err = decode(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: script/decode")


def test_a_file_that_is_no_image_is_refused_with_the_reason(decode: Decode, tmp_path: Path) -> None:
    status, _, err = decode("--symbols", LOG, LOG)
    assert status == 2
    assert (
        err == f"script/decode: {LOG} is no firmware image: not a 32-bit little-endian ELF file\n"
    )
    status, _, err = decode("--symbols", str(tmp_path / "gone.elf"), LOG)
    assert status == 2
    assert "gone.elf: No such file" in err


def test_a_device_can_not_write_control_sequences_to_the_terminal(
    decode: Decode, tmp_path: Path
) -> None:
    body = made.payload((0x80, b""), strings=(b"\x1b[2Jx",))
    dump = made.core_dump(b"\x63\x43\x03\x00" + bytes(84), serial=b"\x1b[2J")
    for name, data in (("log\x1b[2J", made.log((1, body))), ("dump\x1b[2J", dump)):
        (tmp_path / name).write_bytes(data)
        assert "\x1b" not in decode(str(tmp_path / name))[1]


def run_in_terminal(environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "decode", LOG, "--level", "critical"],
        stdout=theirs,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "NO_COLOR"} | environment,
    ) as process:
        assert process.wait(60) == 0
    os.close(theirs)
    output = os.read(ours, 65536).decode()
    os.close(ours)
    return output


def test_a_terminal_gets_colours_unless_it_wants_none() -> None:
    assert "\x1b[1;37;41m" in run_in_terminal({})
    assert "\x1b" not in run_in_terminal({"NO_COLOR": "1"})


def test_who_reads_only_the_beginning_gets_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "decode", *[str(AGENT / "v3-long" / "log.bin")] * 8],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0
    process.stderr.close()


def test_an_image_of_another_firmware_gives_wrong_text_and_no_error(decode: Decode) -> None:
    wrong = str(AGENT / "v3-formats" / "firmware.elf")
    assert FirmwareImage.load(Path(wrong).read_bytes()).modules
    status, _, err = decode("--symbols", wrong, LOG, DUMP)
    assert (status, err) == (0, "")


def test_a_compressed_image_tells_the_backtrace(decode: Decode, tmp_path: Path) -> None:
    data = tool("objcopy", program("-Og", "-g"), "--compress-debug-sections=zlib")
    dump = tmp_path / "dump.bin"
    dump.write_bytes(crash(data))
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(data)
    status, out, err = decode("--symbols", str(elf), str(dump))
    assert (status, err) == (0, "")
    trace = [line for line in out.splitlines() if line.startswith("#")]
    assert [line.split(" in ")[1].split(" (")[0] for line in trace[:2]] == [
        "read_register",
        "open_valve",
    ]
    assert trace[0].endswith("(pump.c:5) inlined")


def test_a_core_dump_is_written_for_a_debugger(decode: Decode, tmp_path: Path) -> None:
    core = tmp_path / "session.core"
    status, out, err = decode(DUMP, LOG, "--symbols", ELF, "--core", str(core))
    assert (status, err) == (0, "")
    assert "core dump" in out
    assert "read_register" in debugger((V4 / "firmware.elf").read_bytes(), core.read_bytes(), "bt")


@pytest.mark.parametrize("given", [[LOG], [DUMP, str(AGENT / "v3-crash" / "core_dump.bin")]])
def test_a_core_file_is_made_of_one_dump_only(
    decode: Decode, tmp_path: Path, given: list[str]
) -> None:
    core = tmp_path / "none.core"
    status, _, err = decode(*given, "--core", str(core))
    assert status == 2
    assert "--core takes one core dump" in err
    assert not core.exists()


def test_why_there_is_no_core_file_is_said(decode: Decode, tmp_path: Path) -> None:
    opaque = tmp_path / "new"
    opaque.write_bytes(made.core_dump(b"other", version=9))
    status, _, err = decode(str(opaque), "--core", str(tmp_path / "x.core"))
    why = "the dump is of an unknown format and has no registers"
    assert (status, err) == (1, f"script/decode: new makes no core file: {why}\n")
    status, _, err = decode(DUMP, "--core", str(tmp_path / "no" / "x.core"))
    assert status == 1
    assert "x.core: No such file" in err


def test_an_image_for_another_processor_is_refused(decode: Decode) -> None:
    status, _, err = decode("--symbols", sys.executable, LOG)
    assert status == 2
    assert "is no firmware image: not a 32-bit" in err
