"""What a cloud says that can't be used is survived, counted, and found in the diagnostics."""

from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.errors import MessageTooLarge, NotAcknowledged
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from tests.support.account import SENSOR, TOKEN, ToldTransport, log

REPLIES = "boot/v0/42/0/42"
UNUSABLE = [
    b"no json",
    b"\xff",
    b"[]",
    b"{}",
    b'{"token": "one"}',
    b'{"token": true}',
    b'{"token": 1.5}',
    b'{"token": -1}',
    b'{"token": 0}',
    b'{"token": 4294967296}',
]


async def test_unusable_boot_replies_do_not_undo_a_good_one(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    publish = transport.publish

    async def answered_badly(topic: str, payload: bytes) -> None:
        for reply in UNUSABLE:
            transport.receive(f"{REPLIES}/{SENSOR.serial}", reply)
        transport.receive(f"{REPLIES}/somebody", b'{"token": 7}')
        transport.receive("boot/v0/42/0/nobody/x", b'{"token": 7}')
        await publish(topic, payload)

    with patch.object(transport, "publish", answered_badly):
        assert await account.runtime_data.ulogger.cloud.register(SENSOR) == TOKEN

    counted = await diagnostics(hass, account)
    assert counted["destinations"]["ulogger"]["counters"]["boot_replies_invalid"] == len(UNUSABLE)
    assert counted["destinations"]["ulogger"]["counters"]["boot_replies_unexpected"] == 2


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (NotAcknowledged("no answer"), "not_acknowledged"),
        (MessageTooLarge("closed each time"), "message_too_large"),
    ],
)
async def test_what_the_broker_does_not_take_is_counted_and_kept(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
    refusal: Exception,
    reason: str,
) -> None:
    gateway = account.runtime_data
    await gateway.ulogger.cloud.register(SENSOR)
    transport.refusal = refusal
    added = await gateway.account.outbox.add(log())
    assert (
        await gateway.destinations["ulogger"].delivery.wait_delivered(
            SENSOR.key, [added.capture_id], 0.3
        )
        == set()
    )

    counted = await diagnostics(hass, account)

    assert counted["rejections"] == {reason: 1}
    [waiting] = counted["outbox"]["undelivered"]
    assert waiting["deliveries"]["ulogger"]["last_error"] == reason
    assert device.data.last_error == reason


async def diagnostics(hass: HomeAssistant, account: MockConfigEntry) -> dict[str, Any]:
    return await async_get_config_entry_diagnostics(hass, account)
