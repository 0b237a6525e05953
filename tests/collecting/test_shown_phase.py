"""What of a device's phases is shown, and when."""

from datetime import timedelta
from unittest.mock import Mock

from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.ulogger.collecting.device_state import Phase
from custom_components.ulogger.collecting.shown_phase import SHOWN_AFTER, ShownPhase


def later(hass: HomeAssistant) -> None:
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=SHOWN_AFTER + 1))


async def test_what_takes_long_is_shown(hass: HomeAssistant) -> None:
    changed = Mock()
    shown = ShownPhase(hass, changed)
    shown.update(Phase.CONNECTING)
    assert shown.phase is Phase.IDLE
    later(hass)
    assert shown.phase is Phase.CONNECTING
    changed.assert_called_once_with()
    shown.stop()


async def test_nothing_waits_after_the_account_was_unloaded(hass: HomeAssistant) -> None:
    changed = Mock()
    shown = ShownPhase(hass, changed)
    shown.update(Phase.CONNECTING)
    shown.stop()
    shown.update(Phase.CONNECTING)
    later(hass)
    changed.assert_not_called()
    assert shown.phase is Phase.IDLE
