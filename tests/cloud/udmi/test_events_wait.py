"""Events wait for their device to be attached, and are in order."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from custom_components.ulogger.cloud.errors import CloudError, CloudUnavailable
from custom_components.ulogger.cloud.udmi.outgoing import MOST_WAITING, EventQueue


class Sent:
    """What a broker was given, and in whose name somebody may speak."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Any]] = []
        self.attached = {"GAT-1"}
        self.failures: list[CloudError] = []
        self.queue = EventQueue(
            self._send, Counter(), attached=lambda each: each in self.attached, sleep=self._sleep
        )
        self.queue.connected(connected=True)

    async def _send(self, device_id: str, subfolder: str, payload: Mapping[str, Any]) -> None:
        if self.failures:
            raise self.failures.pop()
        assert device_id in self.attached
        self.came.append((device_id, payload["n"]))

    async def _sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0)

    def put(self, device_id: str, number: int) -> None:
        self.queue.put(device_id, "system", {"n": number})

    async def go_on(self) -> None:
        running = asyncio.create_task(self.queue.run())
        for _ in range(MOST_WAITING * 2):
            await asyncio.sleep(0)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_events_of_a_device_wait_until_it_is_attached_and_hold_up_no_others() -> None:
    sent = Sent()
    for number in (1, 3):
        sent.put("BLE-1", number)
    sent.put("GAT-1", 2)
    await sent.go_on()
    assert sent.came == [("GAT-1", 2)]
    assert len(sent.queue) == 2
    sent.attached.add("BLE-1")
    sent.queue.look()
    await sent.go_on()
    assert sent.came[1:] == [("BLE-1", 1), ("BLE-1", 3)]
    assert len(sent.queue) == 0


async def test_an_event_that_did_not_go_is_tried_again_in_its_turn() -> None:
    sent = Sent()
    sent.failures.append(CloudUnavailable("gone", sent=False))
    for number in (1, 2):
        sent.put("GAT-1", number)
    await sent.go_on()
    assert sent.came == [("GAT-1", 1), ("GAT-1", 2)]


async def test_of_what_waits_the_oldest_goes_first_when_there_is_too_much() -> None:
    sent = Sent()
    for number in range(MOST_WAITING + 5):
        sent.put("BLE-1", number)
    sent.attached.add("BLE-1")
    await sent.go_on()
    assert [number for _, number in sent.came] == list(range(5, MOST_WAITING + 5))


async def test_nothing_is_sent_without_a_connection() -> None:
    sent = Sent()
    sent.queue.connected(connected=False)
    sent.put("GAT-1", 1)
    await sent.go_on()
    assert sent.came == []
