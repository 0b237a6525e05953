"""Some hundred power cuts; and a sync that is taken out does not go unnoticed."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from powercut.promises import Verdict
from powercut.recorder import ROOT

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
    pytest.mark.timeout(400),
]
FAULTS = tuple(Verdict.__dataclass_fields__)
INTEGRATION = "custom_components/ulogger"
PRAGMA = '    connection.execute("PRAGMA synchronous = FULL")\n'
DIRECTORY_SYNC = "        os.fsync(descriptor)\n"
NEW_DIRECTORY = "        sync_directory(path.parent.parent)\n"
ATOMIC = ", atomic_writes=True"


async def cut(*arguments: str) -> tuple[int, dict[str, Any], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "powercut", "--sessions", "1", "--processes", "1", "--keep", "0", *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, told = await process.communicate()
    last = output.decode().strip().rpartition("\n")[2]
    assert last, told.decode()
    return process.returncode or 0, json.loads(last), told.decode()


def without(directory: Path, name: str, line: str, instead: str = "") -> Path:
    """Copy the integration, and take something out of the copy."""
    shutil.copytree(ROOT / INTEGRATION, directory / INTEGRATION)
    path = directory / INTEGRATION / name
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, instead))
    return directory


async def test_whenever_the_power_goes_nothing_is_lost():
    status, report, told = await cut("--points", "400", "--disks", "300", "--seed", "3")
    assert {name: report[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0), told
    assert report["disks"] >= 300
    assert status == 0


@pytest.mark.parametrize(
    ("name", "line", "instead", "fault"),
    [
        ("outbox/database.py", PRAGMA, "", "lost"),
        ("model/durable.py", DIRECTORY_SYNC, "        pass\n", "lost"),
        ("outbox/files.py", NEW_DIRECTORY, "", "lost"),
        ("account/store.py", ATOMIC, "", "stores_behind"),
        ("account/key_store.py", ATOMIC, "", "stores_behind"),
    ],
)
async def test_a_sync_that_is_missing_is_noticed(tmp_path, name, line, instead, fault):
    source = without(tmp_path, name, line, instead)
    status, report, _ = await cut("--points", "100", "--disks", "50", "--source", str(source))
    assert report[fault] > 0
    assert status == 1


async def test_fewer_disks_than_were_asked_for_are_a_failure():
    status, report, _ = await cut("--points", "2", "--disks", "300")
    assert report["disks"] < 300
    assert status == 1
