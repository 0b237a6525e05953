"""The storm's UDMI site: it can't be used for a while, and knows what came of each capture."""

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chaos.device import TracedDevice
from chaos.site import MUTE, UNLISTS, WAYS, FrailSite
from custom_components.ulogger.cloud.udmi.entries import messages
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from demo.cloud.broker import BrokerError
from demo.cloud.service import LocalCloud
from demo.folder import Filed
from demo.udmi.checking import Message

from .test_verdict import taken_log

SERIAL = "CHAOS0000"


@pytest.fixture
async def traced(socket_enabled: None) -> TracedDevice:
    return TracedDevice(0, Random(1))


def filed(capture_id: int, log: bytes) -> Filed:
    return Filed(capture_id, SERIAL, CaptureKind.LOG, log, 1.0)


def say(frail: FrailSite, device: TracedDevice, log: bytes, capture_id: int, at: float) -> None:
    """Have the site hear a capture."""
    capture = Capture(CaptureKind.LOG, device.identity, log, at)
    for each in messages(capture, read(capture), None, 100, capture_id=capture_id):
        payload = json.dumps(each.payload).encode()
        rest = f"events/{each.subfolder}"
        frail.site.messages.append(Message.read("", "BLE-1", rest, payload, at))


async def test_what_came_of_each_capture_is_known_and_how_often(
    traced: TracedDevice, tmp_path: Path
) -> None:
    frail = FrailSite(tmp_path, 1)
    first, second = taken_log(traced), taken_log(traced)
    files = {1: filed(1, first), 2: filed(2, second)}
    say(frail, traced, first, 1, 10.0)
    assert frail.complete(files) == {1}
    say(frail, traced, second, 2, 20.0)
    say(frail, traced, second, 2, 30.0)
    assert frail.complete(files) == {1, 2}
    ledger = frail.ledger(LocalCloud(None), {SERIAL: traced}, files)
    assert sorted(ledger.arrivals.values()) == [[10.0], [20.0, 30.0]]
    assert ledger.foreign == []
    assert frail.ledger(LocalCloud(None), {SERIAL: traced}, {1: files[1]}).foreign


async def test_a_capture_without_its_last_entry_is_not_complete(
    traced: TracedDevice, tmp_path: Path
) -> None:
    frail = FrailSite(tmp_path, 1)
    log = taken_log(traced)
    say(frail, traced, log, 1, 10.0)
    [message] = frail.site.messages
    assert message.document is not None
    document: dict[str, Any] = {**message.document}
    document["logentries"] = document["logentries"][:-1]
    frail.site.messages[:] = [
        Message.read("", "BLE-1", message.rest, json.dumps(document).encode(), 10.0)
    ]
    assert frail.complete({1: filed(1, log)}) == set()


async def connects(frail: FrailSite) -> bool:
    try:
        async with asyncio.timeout(0.5):
            _, writer = await asyncio.open_connection("127.0.0.1", frail.site.broker.port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("how", WAYS)
async def test_an_unusable_site_is_usable_again(
    traced: TracedDevice, tmp_path: Path, how: str
) -> None:
    frail = FrailSite(tmp_path, 1)
    try:
        await frail.site.start()
    except BrokerError as error:
        pytest.skip(str(error))
    try:
        async with frail.unusable(how):
            assert frail.site.gate.mute == (how == MUTE)
            listed = frail.site.gateway.config["gateway"]["proxy_ids"]
            assert listed == ([] if how == UNLISTS else ["BLE-1"])
        assert not frail.site.gate.mute
        assert not frail.site.gate.refusing
        assert frail.site.gateway.config["gateway"]["proxy_ids"] == ["BLE-1"]
        assert await connects(frail)
        assert len(frail.dead) == len(frail.evidence.outages) == 1
    finally:
        frail.site.broker.thaw()
        await frail.site.stop()
