"""The account's store, also as other versions have written it."""

from typing import Any

import pytest
from homeassistant.core import HomeAssistant

from custom_components.ulogger.account.store import AccountStore, DeviceRecord
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.log_levels import PERSON, UNKNOWN, LogLevels, Wish, Written

LAMP = DeviceIdentity(7, "LAMP-1", "lamp", "0.9.0", "123456")
LEVELS = LogLevels({PERSON: Wish(PERSON, 3, 5, 9.0, ["BLE"])}, Written(2, 1, 4.0))
RECORD = DeviceRecord(LAMP, "AA:BB:CC:DD:EE:FF", "Lamp", log_levels=LEVELS)


async def test_what_a_later_version_adds_is_left_alone(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    stored = RECORD.as_dict() | {"colour": "red"}
    stored["identity"]["agent"] = "9.9.9"
    stored["log_levels"]["wishes"][PERSON]["until"] = 12.5
    stored["log_levels"]["written"]["by"] = "a proxy"
    hass_storage[f"{DOMAIN}.entry"] = {
        "version": 1,
        "minor_version": 7,
        "key": f"{DOMAIN}.entry",
        "data": {"tokens": {}, "devices": [stored], "places": []},
    }
    store = AccountStore(hass, "entry")
    await store.async_load()
    assert store.devices == {LAMP.key: RECORD}


WISH = Wish(UNKNOWN, 1, 2, 500.0, ["BLE"])
STORED = {"level": 1, "module_flags": 2, "expires_at": 500.0, "modules": ["BLE"]}


@pytest.mark.parametrize(
    ("setting", "levels"),
    [
        (None, LogLevels()),
        (STORED, LogLevels({UNKNOWN: WISH})),
        (
            {"level": 1, "module_flags": 2, "expires_at": 5.0},
            LogLevels({UNKNOWN: Wish(UNKNOWN, 1, 2, 5.0)}),
        ),
        (STORED | {"written_at": 9.0}, LogLevels({UNKNOWN: WISH}, Written(1, 2, 500.0))),
        (
            STORED | {"told_until": 70.0},
            LogLevels({UNKNOWN: WISH}, Written(1, 2, 70.0, certain=False)),
        ),
        (STORED | {"revoked": True, "told_until": 500.0}, LogLevels(written=Written(1, 2, 500.0))),
    ],
)
async def test_a_log_configuration_that_waited_is_a_wish_after_the_update(
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    setting: dict[str, Any] | None,
    levels: LogLevels,
) -> None:
    stored = RECORD.as_dict()
    del stored["log_levels"]
    hass_storage[f"{DOMAIN}.entry"] = {
        "version": 1,
        "minor_version": 1,
        "key": f"{DOMAIN}.entry",
        "data": {"tokens": {}, "devices": [stored | {"log_setting": setting}]},
    }
    store = AccountStore(hass, "entry")
    await store.async_load()
    assert store.devices[LAMP.key].log_levels == levels
