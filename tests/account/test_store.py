"""The account's store, also as other versions have written it."""

from typing import Any

from homeassistant.core import HomeAssistant

from custom_components.ulogger.account.store import AccountStore, DeviceRecord
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.log_setting import LogSetting

LAMP = DeviceIdentity(7, "LAMP-1", "lamp", "0.9.0", "123456")
RECORD = DeviceRecord(LAMP, "AA:BB:CC:DD:EE:FF", "Lamp", log_setting=LogSetting(3, 5, 9.0))


async def test_what_a_later_version_adds_is_left_alone(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    stored = RECORD.as_dict() | {"colour": "red"}
    stored["identity"]["agent"] = "9.9.9"
    stored["log_setting"]["until"] = 12.5
    hass_storage[f"{DOMAIN}.entry"] = {
        "version": 1,
        "minor_version": 7,
        "key": f"{DOMAIN}.entry",
        "data": {"tokens": {}, "devices": [stored], "places": []},
    }
    store = AccountStore(hass, "entry")
    await store.async_load()
    assert store.devices == {LAMP.key: RECORD}
