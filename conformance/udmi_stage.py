"""What the scenarios of UDMI are played on: a real Home Assistant, and sites with their brokers."""

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

from custom_components.ulogger import const as c
from custom_components.ulogger.flows.udmi_checks import CONF_DEVICE
from demo.api import Api, Json
from demo.fleet import Buffers, make_fleet
from demo.harness import Harness
from demo.udmi.checking import Schemas, moment
from demo.udmi.door import Way
from demo.udmi.gateways import add_gateway
from demo.udmi.site import Device, LocalSite

PATIENCE: Final = 15.0
LATCH: Final = 4
"""Seconds that one of the gateways waits for its first config."""
WITHIN: Final = 5.0
"""Seconds in which a config has to be acknowledged."""
DEVICES: Final = 2
SETPOINT: Final = "input_number.setpoint"
SLOW: Final = "input_number.slow"
LAMP: Final = "input_boolean.lamp"
DOOR: Final = "input_boolean.door"
PROGRAM: Final = "input_select.program"
AWAY: Final = "number.away"

CONFIGURATION: Final = """
input_number:
  setpoint: {name: Setpoint, min: 10, max: 30, step: 0.5, initial: 20}
  slow: {name: Slow, min: 0, max: 1000, step: 0.1, initial: 5}
input_boolean:
  lamp: {name: Lamp, initial: false}
  door: {name: Door, initial: false}
input_select:
  program: {name: Program, options: [eco, day, night], initial: eco}
template:
  - number:
      - name: Away
        default_entity_id: number.away
        availability: "{{ false }}"
        state: "{{ 5 }}"
        min: 0
        max: 10
        step: 1
        set_value: []
"""

EPOCH: Final = dt.datetime.fromtimestamp(0, dt.UTC)

type Scenario = Callable[["Stage"], Awaitable[None]]


class NotSo(Exception):
    """Something is not as UDMI has it."""


def utc_now() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.UTC)


def expect(condition: object, what: str) -> None:
    """Raise NotSo unless a condition holds."""
    if not condition:
        raise NotSo(what)


class Stage:
    """One Home Assistant with devices, and the sites that its gateways belong to.

    Gateways are added before anything is played, for each that comes loads the account anew.
    """

    def __init__(self, directory: Path, schemas: Schemas | None) -> None:
        self.directory = directory
        self.schemas = schemas
        self.entry: Json = {}
        moving = self._site("moving", Way.BASIC)
        self.places = {
            "main": self._site("main", Way.JWT),
            "moving": moving,
            "moved": self._site("moved", Way.BASIC, authority=moving.authority),
            "keyed": self._site("keyed", Way.JWT),
            "sealed": self._site("sealed", Way.MTLS),
            "open": self._site("open", Way.NONE),
        }
        self.site = self.places["main"]
        for proxy in ("BLE-1", "BLE-2"):
            config = {"system": {"min_loglevel": 100}, "pointset": {"sample_rate_sec": 3600}}
            self.site.add(proxy, config)
        self.site.gateway.config["gateway"] = {"proxy_ids": ["BLE-1", "BLE-2"]}
        self.places["open"].answers_configs = False
        self._stack = AsyncExitStack()
        self._demo: Harness | None = None

    def _site(self, name: str, way: Way, **options: Any) -> LocalSite:
        return LocalSite(self.directory / name, way=way, schemas=self.schemas, **options)

    @property
    def demo(self) -> Harness:
        """Home Assistant and its devices."""
        if self._demo is None:
            raise RuntimeError("not started")
        return self._demo

    @property
    def api(self) -> Api:
        """Home Assistant's interface."""
        return self.demo.api

    @property
    def entry_id(self) -> str:
        """The account."""
        return str(self.entry["entry_id"])

    @property
    def gateway(self) -> Device:
        """The gateway at the main site."""
        return self.site.gateway

    @property
    def proxy(self) -> Device:
        """The device at the main site whose points are looked at."""
        return self.site.devices["BLE-1"]

    @property
    def second(self) -> Device:
        """The device at the main site whose points are set."""
        return self.site.devices["BLE-2"]

    async def __aenter__(self) -> Self:
        """Start everything, and wait until the devices are collected."""
        for site in self.places.values():
            await self._stack.enter_async_context(site)
        buffers = await asyncio.to_thread(Buffers.load)
        self._demo = Harness(
            self.directory / "home",
            make_fleet(DEVICES, buffers),
            to_cloud=False,
            configuration=CONFIGURATION,
        )
        await self._stack.enter_async_context(self._demo)
        self.entry = await self._demo.set_up_account()
        async with asyncio.timeout(60):
            for device in self._demo.devices:
                await device.emptied.wait()
        await self._add_gateways()
        for proxy in (self.proxy, self.second):
            await self.until(
                lambda proxy=proxy: "pointset" in proxy.state,  # type: ignore[misc]
                f"{proxy.id} is not spoken for",
                30,
            )
        return self

    async def _add_gateways(self) -> None:
        """Have Home Assistant be a gateway at each site but the one that it moves to."""
        first, second = await self._device_ids()
        points: list[Json] = [
            {c.CONF_POINT: "slow", c.CONF_ENTITY: SLOW, CONF_DEVICE: first, c.CONF_UNITS: "Cel"},
            {c.CONF_POINT: "door", c.CONF_ENTITY: DOOR, CONF_DEVICE: first},
            {c.CONF_POINT: "seen", c.CONF_ENTITY: SLOW, CONF_DEVICE: second},
            *(
                {
                    c.CONF_POINT: entity.partition(".")[2],
                    c.CONF_ENTITY: entity,
                    CONF_DEVICE: second,
                    c.CONF_WRITABLE: True,
                }
                for entity in (SETPOINT, LAMP, PROGRAM, AWAY)
            ),
        ]
        options: dict[str, Json] = {
            "main": {"proxies": {first: "BLE-1", second: "BLE-2"}, "points": points},
            "moving": {},
            "keyed": {"algorithm": "rs256"},
            "sealed": {"algorithm": "rs256"},
            "open": {"sync": LATCH},
        }
        for name, said in options.items():
            await add_gateway(self.api, self.entry_id, self.places[name], **said)

    async def _device_ids(self) -> list[str]:
        """Return what Home Assistant calls the devices, in the order of the fleet."""
        registry = await self.api.command("config/device_registry/list")
        found = []
        for device in self.demo.devices:
            serial = device.identity.serial
            found += [
                each["id"]
                for each in registry
                if any(str(name).endswith(serial) for _, name in each["identifiers"])
            ]
        if len(found) != len(self.demo.devices):
            raise NotSo(f"{len(found)} devices are registered")
        return found

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self._stack.aclose()

    async def until(
        self,
        condition: Callable[[], object],
        what: str,
        seconds: float = PATIENCE,
        *,
        site: LocalSite | None = None,
    ) -> None:
        """Wait until a condition holds; raises NotSo."""
        try:
            await (site or self.site).wait_until(condition, seconds)
        except TimeoutError as err:
            raise NotSo(what) from err

    async def configure(
        self, device: Device, *, site: LocalSite | None = None, **blocks: Any
    ) -> str:
        """Change blocks of a device's config, and wait until that is acknowledged in time."""
        site = site or self.site
        said = await site.configure(device.id, **blocks)
        await self.acknowledged(device, said, site=site)
        return said

    async def acknowledged(
        self, device: Device, said: str, *, site: LocalSite | None = None
    ) -> None:
        """Wait until a config, or a later one, is acknowledged, for as long as that may take."""
        at = moment(said)
        await self.until(
            lambda: at and (moment(device.system().get("last_config")) or EPOCH) >= at,
            f"{device.id}: the config of {said} is not acknowledged within {WITHIN:.0f} s",
            WITHIN,
            site=site,
        )

    # Home Assistant

    async def value(self, entity_id: str) -> str:
        """Return an entity's state."""
        states = await self.api.states()
        return str(states[entity_id]["state"])

    async def until_value(self, entity_id: str, wanted: str, seconds: float = PATIENCE) -> None:
        """Wait until an entity has a state; raises NotSo."""
        end = time.monotonic() + seconds
        while (found := await self.value(entity_id)) != wanted:
            if time.monotonic() > end:
                raise NotSo(f"{entity_id} is {found}, not {wanted}")
            await asyncio.sleep(0.1)

    async def set_number(self, entity_id: str, value: float) -> None:
        """Set a number as a person does."""
        await self.api.call("input_number", "set_value", entity_id=entity_id, value=value)

    async def issues(self) -> dict[str, Mapping[str, Any]]:
        """Return our repairs by their translation keys."""
        found = await self.api.command("repairs/list_issues")
        return {
            str(each["translation_key"]): each
            for each in found["issues"]
            if each["domain"] == c.DOMAIN and not each["ignored"]
        }

    async def until_issue(self, key: str, seconds: float = PATIENCE) -> Mapping[str, Any]:
        """Wait for a repair; raises NotSo."""
        end = time.monotonic() + seconds
        while True:
            issues = await self.issues()
            if key in issues:
                return issues[key]
            if time.monotonic() > end:
                raise NotSo(f"no repair of {key}, only {sorted(issues)}")
            await asyncio.sleep(0.2)

    async def confirm(self, issue: Mapping[str, Any], **answers: Any) -> Json:
        """Go through a repair as a person does who agrees; returns its last step."""
        path = "/api/repairs/issues/fix"
        handler = {"handler": issue["domain"], "issue_id": issue["issue_id"]}
        step: Json = await self.api.request("POST", path, handler)
        while step["type"] in {"form", "menu"}:
            answer = answers if step["type"] == "form" else {"next_step_id": "confirm"}
            step = await self.api.request("POST", f"{path}/{step['flow_id']}", answer)
        return step
