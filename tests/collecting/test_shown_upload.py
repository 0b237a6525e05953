"""Which uploads of a device are shown, and when."""

from datetime import timedelta
from unittest.mock import Mock

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.ulogger.collecting.shown_upload import SHOWN_EVERY, Shown, ShownUpload


@pytest.fixture
def changed() -> Mock:
    return Mock()


@pytest.fixture
def shown(hass: HomeAssistant, changed: Mock) -> ShownUpload:
    """Return what is shown of a device that uploaded at 10."""
    shown = ShownUpload(hass, changed)
    shown.update(10.0, more=True)
    return shown


def later(hass: HomeAssistant) -> None:
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=SHOWN_EVERY + 1))


def test_what_went_up_before_a_start_is_shown_though_more_waits(
    shown: ShownUpload, changed: Mock
) -> None:
    assert shown.moment == 10.0
    changed.assert_called_once_with()


def test_several_uploads_in_a_row_are_one(shown: ShownUpload, changed: Mock) -> None:
    shown.update(20.0, more=True)
    assert shown.moment == 10.0
    shown.update(21.0, more=False)
    assert shown.moment == 21.0
    shown.update(21.0, more=False)
    assert changed.call_count == 2


def test_an_upload_after_a_reload_waits_for_what_follows_it(
    hass: HomeAssistant, changed: Mock
) -> None:
    shown = Shown()
    before = ShownUpload(hass, changed, shown)
    before.update(None, more=False)
    before.stop()
    after = ShownUpload(hass, changed, shown)
    after.update(20.0, more=True)
    assert after.moment is None
    after.update(21.0, more=False)
    assert after.moment == 21.0
    changed.assert_called_once_with()
    after.stop()


async def test_many_uploads_in_a_row_are_shown_once_a_minute(
    hass: HomeAssistant, shown: ShownUpload, changed: Mock
) -> None:
    shown.update(20.0, more=True)
    shown.update(30.0, more=True)
    later(hass)
    assert shown.moment == 30.0
    later(hass)
    assert changed.call_count == 2
    shown.update(40.0, more=True)
    assert shown.moment == 30.0
    shown.stop()


async def test_nothing_waits_after_the_account_was_unloaded(
    hass: HomeAssistant, shown: ShownUpload, changed: Mock
) -> None:
    shown.update(20.0, more=True)
    shown.stop()
    shown.update(30.0, more=True)
    later(hass)
    changed.assert_called_once_with()
