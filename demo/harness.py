"""Everything a demo is made of, started and stopped together or piece by piece.

Home Assistant, the broker and the service behind it each end and start on their own, and the
devices keep their memories meanwhile::

    async with Harness(directory, make_fleet(3, Buffers.load())) as demo:
        await demo.set_up_account()
        await demo.hass.kill()
        await demo.broker.astop()
        demo.devices[0].cut()
        await demo.broker.astart()
        await demo.restart_hass()
"""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from custom_components.ulogger import const as c
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.flows.folder_flow import CONF_INCLUDE_KEPT
from custom_components.ulogger.flows.otlp_checks import SECTION_TLS
from custom_components.ulogger.model.capture import CaptureKind

from .api import Api, ApiError, Json
from .check import Held
from .clesyde.platform import TOKEN, LocalClesyde
from .cloud.amqtt_broker import AmqttBroker
from .cloud.broker import LocalBroker
from .cloud.policy import PolicyGate
from .cloud.service import LocalCloud
from .device.server import RadioServer
from .device.virtual import VirtualDevice
from .hass import Hass
from .otlp import LocalCollector
from .pepeunit.service import LocalPepeunit
from .ports import free_port
from .readback import image_keys
from .udmi.gateways import add_gateway
from .udmi.site import LocalSite

CUSTOMER_ID = 4711
THING = "HA-4711"
LOGS, CRASHES = "up/logs", "up/crashes"
"""Topics of the thing's captures."""
CARD_SECONDS = 60.0
MOST_CAPTURES = 100
"""Of a device that `Harness.kept` asks for."""
PROGRAMS = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def make_broker(directory: Path) -> LocalBroker:
    """Return the distribution's broker, or the one in Python where there is none."""
    kind = LocalBroker if shutil.which("mosquitto", path=PROGRAMS) else AmqttBroker
    return kind(directory, customer_id=CUSTOMER_ID)


class Harness:
    """A demo in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        devices: Sequence[VirtualDevice],
        *,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        configuration: str = "",
        gated: bool = False,
        to_cloud: bool = True,
        folder: Path | None = None,
        collector: LocalCollector | None = None,
        pepeunit: LocalPepeunit | None = None,
        clesyde: LocalClesyde | None = None,
        site: LocalSite | None = None,
    ) -> None:
        """Prepare; nothing runs yet. ``port`` is the browser's, a free one by default.

        ``environment`` holds further variables of Home Assistant's process, ``configuration``
        further lines of its ``configuration.yaml``. The account of a
        ``gated`` demo reaches its broker through `gate`, which can have a policy; one that is not
        ``to_cloud`` has none, and captures are only here. ``folder`` is a directory that captures
        go to as well, ``collector`` one that they go to once `add_collector` was called. Of
        ``pepeunit`` it becomes the unit, at ``clesyde`` a thing, and of ``site`` the gateway once
        `add_site` was called.
        """
        self.directory = directory
        self.devices = list(devices)
        self.broker = make_broker(directory / "broker")
        self.gate = PolicyGate(self.broker)
        self.cloud = LocalCloud(self.broker, directory=directory / "cloud")
        self.radio = RadioServer(self.devices)
        self._port = port or free_port()
        self._environment = environment
        self._configuration = configuration
        self.folder = folder
        self.collector = collector
        self.pepeunit = pepeunit
        self.clesyde = clesyde
        self.site = site
        self._gated = gated
        self._to_cloud = to_cloud
        self._hass: Hass | None = None
        self._api: Api | None = None

    @property
    def hass(self) -> Hass:
        """The Home Assistant process."""
        if self._hass is None:
            raise RuntimeError("not started")
        return self._hass

    @property
    def _broker_port(self) -> int:
        return self.gate.port if self._gated else self.broker.port

    @property
    def api(self) -> Api:
        """Home Assistant's interface, signed in."""
        if self._api is None:
            raise RuntimeError("not started")
        return self._api

    async def __aenter__(self) -> Self:
        """Start everything and sign in; what had started ends again when something fails."""
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()

    async def start(self) -> None:
        """Start broker, service, radio and Home Assistant, and make the first user."""
        if self._to_cloud:
            await self._start_cloud()
        if self.collector is not None:
            await self.collector.start()
        if self.pepeunit is not None:
            await self.pepeunit.start()
        if self.clesyde is not None:
            await self.clesyde.start()
        if self.site is not None:
            await self.site.start()
        await self.radio.start()
        self._hass = Hass(
            self.directory / "config",
            port=self._port,
            radio_port=self.radio.port,
            environment=self._environment,
            configuration=self._configuration,
        )
        self._api = Api(self.hass.url)
        await asyncio.to_thread(self.hass.write_configuration)
        await self.hass.start()
        await self.api.onboard()

    async def _start_cloud(self) -> None:
        await self.broker.astart()
        if self._gated:
            await self.gate.start()
        await self.cloud.start()

    async def stop(self) -> None:
        """Stop everything, Home Assistant first."""
        if self._api is not None:
            await self._api.close()
        if self._hass is not None:
            await self._hass.stop()
        await self.radio.stop()
        if self.collector is not None:
            await self.collector.stop()
        if self.pepeunit is not None:
            await self.pepeunit.stop()
        if self.clesyde is not None:
            await self.clesyde.stop()
        if self.site is not None:
            await self.site.stop()
        await self.cloud.stop()
        await self.gate.stop()
        await self.broker.astop()

    async def restart_hass(self) -> None:
        """Start Home Assistant again, after a stop or a kill, and sign in."""
        await self.hass.stop()
        await self.hass.start()
        await self.api.sign_in()

    async def set_up_account(self) -> Json:
        """Answer the discovery card of a device with the account; returns the config entry."""
        card = await self._card()
        entry = await (self._with_cloud(card) if self._to_cloud else self._only_here(card))
        if self.folder is not None:
            entry["folder_id"] = await self._add_folder(entry["entry_id"], self.folder)
        if self.pepeunit is not None:
            entry["pepeunit_id"] = await self._add_unit(entry["entry_id"], self.pepeunit)
        if self.clesyde is not None:
            entry["clesyde_id"] = await self._add_thing(entry["entry_id"], self.clesyde)
        return entry

    async def _with_cloud(self, card: Json) -> Json:
        step = await self.api.flow(card["flow_id"], {"next_step_id": "certificate"})
        archive = await self.api.upload("certificate.zip", self.broker.download)
        ca = await self.api.upload("ca.pem", self.broker.ca.encode())
        account: dict[str, Any] = {
            "customer_id": CUSTOMER_ID,
            "group_id": 0,
            "archive": archive,
            "advanced": {"broker": self.broker.host, "port": self._broker_port, "ca": ca},
        }
        step = await self.api.flow(step["flow_id"], account)
        if step["type"] != "create_entry":
            raise ApiError(f"The account was not set up: {step.get('errors') or step}")
        entry: Json = step["result"]
        return entry

    async def _only_here(self, card: Json) -> Json:
        """Set up the account without a cloud, from the card of any device."""
        step = await self.api.flow(card["flow_id"], {"next_step_id": "only_here"})
        step = await self.api.flow(step["flow_id"], {})
        if step["type"] != "create_entry":
            raise ApiError(f"The account was not set up: {step}")
        entry: Json = step["result"]
        return entry

    async def _add_folder(self, entry_id: str, folder: Path) -> str:
        """Have all captures of the account go to a directory, too; returns the destination's ID."""
        answers = {
            c.CONF_PATH: str(folder),
            c.CONF_KEEP_DAYS: 0,
            c.CONF_KEEP_MB: 0,
            CONF_INCLUDE_KEPT: True,
        }
        return await self._add_destination(entry_id, c.SUBENTRY_FOLDER, answers)

    async def add_collector(self, entry_id: str) -> str | None:
        """Have all captures go to the collector, too; returns the destination's ID.

        What was collected before goes there with the images that the account has by now.
        """
        if self.collector is None:
            return None
        answers = {
            c.CONF_URL: self.collector.url,
            c.CONF_UNENCRYPTED: True,
            c.CONF_METRICS: True,
            SECTION_TLS: {},
            CONF_INCLUDE_KEPT: True,
        }
        return await self._add_destination(entry_id, c.SUBENTRY_OTLP, answers)

    async def add_site(self, entry_id: str) -> str | None:
        """Make the account the gateway of the site; returns the destination's ID.

        What was collected before goes there with the images that the account has by now.
        """
        if self.site is None:
            return None
        return await add_gateway(self.api, entry_id, self.site)

    async def _add_destination(self, entry_id: str, kind: str, answers: Json) -> str:
        """Fill in the form of a destination; returns the destination's ID."""
        path = "/api/config/config_entries/subentries/flow"
        form = await self.api.request("POST", path, {"handler": [entry_id, kind]})
        done = await self.api.request("POST", f"{path}/{form['flow_id']}", answers)
        if done["type"] != "create_entry":
            raise ApiError(f"{kind} was not added: {done.get('errors') or done}")
        return await self._added(entry_id, kind)

    async def _add_unit(self, entry_id: str, pepeunit: LocalPepeunit) -> str:
        """Make the account a unit of a local Pepeunit; returns the destination's ID."""
        path = "/api/config/config_entries/subentries/flow"
        handler = [entry_id, c.SUBENTRY_PEPEUNIT]
        form = await self.api.request("POST", path, {"handler": handler})
        [unit] = pepeunit.units
        steps: list[Json] = [
            {
                "env": json.dumps(pepeunit.env(unit)),
                "schema": json.dumps(unit.schema()),
                c.CONF_READABLE: True,
                CONF_INCLUDE_KEPT: True,
            },
            {c.CONF_OUTPUTS: [], c.CONF_INPUTS: []},
        ]
        for answers in steps:
            form = await self.api.request("POST", f"{path}/{form['flow_id']}", answers)
        if form["type"] != "create_entry":
            raise ApiError(f"The unit was not added: {form.get('errors') or form}")
        return await self._added(entry_id, c.SUBENTRY_PEPEUNIT)

    async def _add_thing(self, entry_id: str, clesyde: LocalClesyde) -> str:
        """Make the account a thing of a local Clesyde; returns the destination's ID."""
        path = "/api/config/config_entries/subentries/flow"
        handler = [entry_id, c.SUBENTRY_CLESYDE]
        form = await self.api.request("POST", path, {"handler": handler})
        steps: list[Json] = [
            {"next_step_id": "provision"},
            {c.CONF_API: clesyde.api, c.CONF_SERIAL: THING, c.CONF_TOKEN: TOKEN},
            {
                c.CONF_LOGS_TOPIC: LOGS,
                c.CONF_CRASHES_TOPIC: CRASHES,
                c.CONF_FORMAT: c.FORMAT_RAW,
                CONF_INCLUDE_KEPT: True,
            },
        ]
        for answers in steps:
            form = await self.api.request("POST", f"{path}/{form['flow_id']}", answers)
        if form["type"] != "create_entry":
            raise ApiError(f"The thing was not added: {form.get('errors') or form}")
        return await self._added(entry_id, c.SUBENTRY_CLESYDE)

    async def _added(self, entry_id: str, kind: str) -> str:
        """Return the ID of the subentry of a kind."""
        added = await self.api.command("config_entries/subentries/list", entry_id=entry_id)
        [found] = [each["subentry_id"] for each in added if each["subentry_type"] == kind]
        return str(found)

    async def add_firmware(self, entry_id: str, image: bytes) -> None:
        """Add an image for what the devices run and what their core dumps are of."""
        keys = dict.fromkeys(key for device in self.devices for key in image_keys(device))
        await self.add_image(entry_id, image, *keys)

    async def add_image(self, entry_id: str, image: bytes, *keys: ImageKey) -> None:
        """Add an image for some firmware."""
        path = self.hass.images / "firmware.elf"
        await asyncio.to_thread(path.write_bytes, image)
        for key in keys:
            await self.api.call(
                c.DOMAIN,
                "add_firmware",
                config_entry_id=entry_id,
                path=str(path),
                version=key.version,
                git_hash=key.git_hash,
                application_id=key.application_id,
            )

    async def kept(self, entry_id: str) -> list[Held]:
        """Download the account's captures that are nowhere but in Home Assistant."""
        held: list[Held] = []
        for serial, captures in (await self._captures(entry_id)).items():
            for capture in captures:
                if capture["state"] == "kept":
                    data = await self.api.download(capture["download"])
                    held.append((serial, CaptureKind(capture["kind"]), data))
        return held

    async def _captures(self, entry_id: str) -> dict[str, list[Json]]:
        """List captures by the serials of the devices that are collected."""
        registry = await self.api.command("config/device_registry/list")
        gateway = [c.DOMAIN, entry_id]
        devices = [
            each["id"]
            for each in registry
            if entry_id in each["config_entries"] and gateway not in each["identifiers"]
        ]
        if not devices:
            return {}
        answer = await self.api.call(
            c.DOMAIN, "get_captures", answer=True, device_id=devices, limit=MOST_CAPTURES
        )
        found: dict[str, list[Json]] = answer["service_response"]["devices"]
        return found

    async def _card(self) -> Json:
        """Wait for the discovery card of any device."""
        try:
            async with asyncio.timeout(CARD_SECONDS):
                while not (cards := await self.api.discovered("ulogger")):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise ApiError(
                f"No device was discovered within {CARD_SECONDS:.0f} s:\n{self.hass.tail()}"
            ) from error
        return cards[0]

    async def entities(self) -> dict[str, str]:
        """Return the states of our entities, for a person who wonders what goes on."""
        entries = await self.api.command("config/entity_registry/list")
        ours = {entry["entity_id"] for entry in entries if entry["platform"] == "ulogger"}
        states = await self.api.states()
        return {name: state["state"] for name, state in states.items() if name in ours}
