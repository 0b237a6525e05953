"""What an account does of its own accord, and what it does no more when it ends."""

from unittest.mock import patch

from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.outbox.errors import DiskFull, OutboxDamaged


async def test_a_damaged_outbox_is_opened_anew_and_a_full_disk_is_not(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    gateway = account.runtime_data
    with patch.object(hass.config_entries, "async_schedule_reload") as reload:
        gateway.account.outbox_failed(DiskFull("no space left"))
        reload.assert_not_called()
        gateway.account.outbox_failed(OutboxDamaged("malformed"))
        reload.assert_called_once_with(account.entry_id)
    assert gateway.account.rejections[OutboxDamaged.reason] == 1


async def test_an_account_that_ends_is_not_loaded_again_for_what_fails_meanwhile(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    """Deliveries that are under way still end while it stops, and may find damage."""
    gateway = account.runtime_data

    async def finish(_seconds: float) -> None:
        gateway.account.outbox_failed(OutboxDamaged("malformed"))
        gateway.account.refresh_soon()

    with (
        patch.object(gateway.destinations["ulogger"].delivery, "finish", finish),
        patch.object(hass.config_entries, "async_schedule_reload") as reload,
    ):
        assert await hass.config_entries.async_unload(account.entry_id)
    reload.assert_not_called()
    assert gateway.account._refresh_timer is None
