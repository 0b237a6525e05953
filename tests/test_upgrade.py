"""An account of an earlier version, opened by this one: everything that a user had is there."""

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.model.identity import DeviceIdentity
from demo.device.samples import sample_log
from demo.device.virtual import VirtualDevice
from demo.harness import Harness

BEFORE = Path(__file__).parent / "fixtures" / "upgrade" / "2026.11-first"
TOKENS = {"A87DE76F0012": 268435457}
DEVICE = "sensor.doorsensev2_a87de76f00"
DAYS = 86_400

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("home_assistant_process"),
]


class Upgrade(Harness):
    """A demo in the directory of an account that an earlier version has left."""

    def lay_out(self) -> dict[str, Any]:
        """Put the data where Home Assistant keeps it, with fresh credentials; return the entry."""
        storage = self.directory / "config" / ".storage"
        (storage / "ulogger").mkdir(parents=True, exist_ok=True)
        for name in ("core.device_registry", "core.entity_registry"):
            shutil.copy(BEFORE / name, storage / name)
        entries = json.loads((BEFORE / "core.config_entries").read_text())
        entry = entries["data"]["entries"][0]
        entry["data"] |= {
            "certificate": self.broker.customer.certificate,
            "ca": self.broker.ca,
            "port": self.broker.port,
        }
        _write(storage / "core.config_entries", entries)
        account = json.loads((BEFORE / "account").read_text())
        for device in account["data"]["devices"]:
            if device["log_setting"] is not None:
                device["log_setting"]["expires_at"] = time.time() + 20 * DAYS
        _write(storage / account["key"], account)
        suffix = entry["data"]["client_suffix"]
        key = {"version": 1, "minor_version": 1, "key": f"ulogger.key.{suffix}"}
        _write(
            storage / key["key"], key | {"data": {"private_key": self.broker.customer.private_key}}
        )
        shutil.copy(BEFORE / "outbox.sqlite", storage / "ulogger" / f"{entry['entry_id']}.sqlite")
        return entry


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def registered(name: str, part: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((BEFORE / name).read_text())["data"][part]
    return rows


async def state_of(demo: Upgrade, entry_id: str) -> str | None:
    """Return how far the set-up of an entry is; ignored ones are never set up."""
    entries = {each["entry_id"]: each["state"] for each in await demo.api.entries("ulogger")}
    return entries.get(entry_id)


@pytest.mark.usefixtures("socket_enabled")
async def test_everything_that_a_user_had_is_there_after_the_update(tmp_path: Path) -> None:
    ignored = DeviceIdentity(77, "B0B0", "Neighbour", "1.0.0", "0badf00")
    neighbour = VirtualDevice("C0:DE:00:00:02:02", ignored, sample_log(300, 7), None)
    demo = Upgrade(tmp_path, [neighbour])
    entry = demo.lay_out()
    async with demo:
        # What waited goes up, under the token that the device had.
        (waited,) = await demo.cloud.wait_for("binlog")
        assert waited.token == TOKENS["A87DE76F0012"]
        assert b"battery_mv" in waited.payload
        assert not demo.cloud.registrations

        # It went up while the rest of the account was still being set up.
        waiting = "sensor.ulogger_4711_captures_waiting"
        async with asyncio.timeout(60):
            while await state_of(demo, entry["entry_id"]) != "loaded":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while (await demo.entities()).get(waiting) != "0":  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        entities = await demo.api.command("config/entity_registry/list")
        now = {each["unique_id"]: each["entity_id"] for each in entities}
        before = registered("core.entity_registry", "entities")
        assert {each["unique_id"]: each["entity_id"] for each in before}.items() <= now.items()
        devices = await demo.api.command("config/device_registry/list")
        ids = {each["id"]: each for each in devices}
        for each in registered("core.device_registry", "devices"):
            assert ids[each["id"]]["identifiers"] == each["identifiers"]
            assert ids[each["id"]]["name_by_user"] == each["name_by_user"]

        captures = await demo.api.call(
            "ulogger",
            "get_captures",
            answer=True,
            device_id=[each["id"] for each in devices if each["serial_number"]],
        )
        states = {
            serial: [(each["id"], each["state"]) for each in rows]
            for serial, rows in captures["service_response"]["devices"].items()
        }
        assert states["A87DE76F00D0"] == [(7, "quarantined")]
        assert states["A87DE76F0012"] == [(8, "delivered"), (3, "delivered"), (1, "delivered")]
        assert states["A87DE76F0013"] == [(4, "delivered"), (2, "delivered")]

        shown = await demo.entities()
        assert shown[f"{DEVICE}11_uploads"] == "2"
        assert shown[f"{DEVICE}13_core_dumps_uploaded"] == "1"
        wished = {
            name: state["attributes"].get("wished")
            for name, state in (await demo.api.states()).items()
        }
        assert wished["select.doorsensev2_a87de76f0013_log_level"] == "debug"
        assert wished["select.doorsensev2_a87de76f0011_log_level"] == "warning"
        assert wished["select.doorsensev2_a87de76f0012_log_level"] == "device_default"

        # Nobody is asked about the ignored application, and its device keeps what it has.
        assert await demo.api.discovered("ulogger") == []
        assert not neighbour.empty

        assert demo.hass.problems() == []
