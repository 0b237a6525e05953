"""The command line of script/demo."""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from custom_components.ulogger.firmware.symbols import FirmwareImage

from .activity import watch
from .api import PASSWORD, USER, ApiError
from .check import (
    Comparison,
    compare_untouched,
    report,
    wait_until_delivered,
    wait_until_there,
)
from .clesyde.platform import LocalClesyde
from .cloud.broker import BrokerError
from .device.life import live
from .device.virtual import VirtualDevice
from .fleet import Buffers, UnusableBufferError, make_fleet
from .folder import FolderReader
from .harness import CRASHES, LOGS, THING, Harness
from .hass import REPOSITORY, HassError
from .living import live as live_on
from .living import make_living_fleet, make_ready
from .otlp import LocalCollector
from .otlp_check import compare_records as compare_otlp
from .pepeunit.reading import compare_records
from .pepeunit.service import LocalPepeunit
from .pepeunit.units import Unit
from .readback import wait_until_read
from .udmi.comparing import compare_entries
from .udmi.door import Way
from .udmi.site import LocalSite

DEMO_DIRECTORY = REPOSITORY / ".demo"
FOLDER, OTLP, PEPEUNIT, CLESYDE, UDMI = "folder", "otlp", "pepeunit", "clesyde", "udmi"
DESTINATIONS = (FOLDER, OTLP, PEPEUNIT, CLESYDE, UDMI)
SITE_LEVEL = 200
"""From which level on the local site wants to hear what devices log: no debugging."""
LIVING = 6
PATIENCE_SECONDS = 120.0
PATIENCE_SECONDS_PER_BYTE = 1 / 1000
READ_SECONDS = 30.0
"""How long --check waits for Home Assistant to have read what it collected."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="script/demo",
        description="A real Home Assistant with virtual Bluetooth devices and a local cloud.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="without a browser: wait until every capture has arrived, compare, report as JSON",
    )
    parser.add_argument(
        "--destination",
        action="append",
        choices=DESTINATIONS,
        default=[],
        help="where captures go beside the cloud: a directory, a collector, the log of a unit of a "
        "local Pepeunit, a thing of a local Clesyde, the gateway of a local UDMI site; may be "
        "repeated",
    )
    parser.add_argument(
        "--no-cloud",
        action="store_true",
        help="an account without uLogger's cloud; without a --destination, captures are only here",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="the devices' log buffer")
    parser.add_argument("--core-dump", type=Path, metavar="FILE", help="the devices' core dump")
    parser.add_argument(
        "--symbols",
        type=Path,
        metavar="ELF",
        help="the firmware's image; --check then reports lines, metrics and the crash, too",
    )
    parser.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help=f"how many ({LIVING} that live; 1 with --check or buffers of your own)",
    )
    parser.add_argument(
        "--activity",
        type=float,
        metavar="MINUTES",
        help="without a browser: have devices live so long, then be silent, then reload; report as "
        "JSON what the activity says of each beside what was collected",
    )
    parser.add_argument("--port", type=int, default=8123, help="the browser's port (8123)")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="how long --check waits for captures"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="put configuration, logs and captures into a new directory",
    )
    options = parser.parse_args(arguments)
    own = options.log or options.core_dump or options.symbols
    if options.activity is not None and (options.check or own):
        parser.error("--activity: without --check and buffers of your own")
    options.living = not (options.check or own)
    if options.devices is None:
        options.devices = LIVING if options.living else 1
    if not 1 <= options.devices <= 1000:
        parser.error("--devices: between 1 and 1000")
    return options


def say(text: str) -> None:
    """Tell the person; standard output stays free for the report."""
    print(text, file=sys.stderr, flush=True)


def make_harness(
    options: argparse.Namespace,
    devices: list[VirtualDevice],
    directory: Path,
    port: int | None = None,
) -> Harness:
    """Prepare the demo that the command line asks for."""
    directory = directory.absolute()
    folder = directory / "config/captures" if FOLDER in options.destination else None
    pepeunit = None
    if PEPEUNIT in options.destination:
        unit = Unit.make(inputs=["lamp"], outputs=["temperature"])
        pepeunit = LocalPepeunit(directory / PEPEUNIT, units=[unit])
    site = None
    if UDMI in options.destination:
        site = LocalSite(directory / UDMI, way=Way.JWT)
        for number in range(1, len(devices) + 1):
            site.expect(f"BLE-{number}", {"system": {"min_loglevel": SITE_LEVEL}})
    return Harness(
        directory,
        devices,
        port=port,
        to_cloud=not options.no_cloud,
        folder=folder,
        collector=LocalCollector() if OTLP in options.destination else None,
        pepeunit=pepeunit,
        clesyde=LocalClesyde(directory / CLESYDE) if CLESYDE in options.destination else None,
        site=site,
    )


async def read_symbols(options: argparse.Namespace) -> bytes | None:
    """Read the image that the command line names."""
    path: Path | None = options.symbols
    return None if path is None else await asyncio.to_thread(path.read_bytes)


async def check(options: argparse.Namespace, buffers: Buffers, directory: Path) -> int:
    """Run headless until everything was delivered; prints the report and returns the exit code."""
    started = time.monotonic()
    symbols = await read_symbols(options)
    devices = make_fleet(options.devices, buffers)
    size = options.devices * (len(buffers.log) + len(buffers.core_dump))
    patience = options.timeout or PATIENCE_SECONDS + size * PATIENCE_SECONDS_PER_BYTE
    async with make_harness(options, devices, directory) as demo:
        say(f"Home Assistant answers on {demo.hass.url} after {time.monotonic() - started:.1f} s")
        entry = await demo.set_up_account()
        if symbols is not None:
            await demo.add_firmware(entry["entry_id"], symbols)
        await demo.add_collector(entry["entry_id"])
        await demo.add_site(entry["entry_id"])
        say(f"Account set up; waiting for {2 * options.devices} captures, {patience:.0f} s at most")
        end = time.monotonic() + patience
        destinations: dict[str, Comparison] = {}
        if not options.no_cloud:
            destinations["ulogger"] = await wait_until_delivered(devices, demo.cloud, patience)
        if demo.folder is not None:
            reader = FolderReader(demo.folder)

            async def in_folder() -> Comparison:
                filed = await asyncio.to_thread(reader.read)
                held = [(each.serial, each.kind, each.data) for each in filed]
                return compare_untouched(devices, held, reader.faulty.values())

            left = end - time.monotonic()
            destinations[FOLDER] = await wait_until_there(devices, in_folder, left)
        if (collector := demo.collector) is not None:
            image = await asyncio.to_thread(FirmwareImage.load, symbols) if symbols else None

            async def in_collector() -> Comparison:
                return await asyncio.to_thread(compare_otlp, devices, collector.received, image)

            left = end - time.monotonic()
            destinations[OTLP] = await wait_until_there(devices, in_collector, left)
        if (pepeunit := demo.pepeunit) is not None:

            async def in_log() -> Comparison:
                found = compare_records(devices, pepeunit.records(pepeunit.units[0]))
                found.different += pepeunit.invalid
                return found

            left = end - time.monotonic()
            destinations[PEPEUNIT] = await wait_until_there(devices, in_log, left)
        if (clesyde := demo.clesyde) is not None:

            async def at_thing() -> Comparison:
                held = clesyde.whole(clesyde.devices[THING], LOGS, CRASHES)
                return compare_untouched(devices, held, clesyde.faulty)

            left = end - time.monotonic()
            destinations[CLESYDE] = await wait_until_there(devices, at_thing, left)
        if (site := demo.site) is not None:
            image = await asyncio.to_thread(FirmwareImage.load, symbols) if symbols else None

            async def at_site() -> Comparison:
                return await asyncio.to_thread(compare_entries, devices, site, image)

            left = end - time.monotonic()
            destinations[UDMI] = await wait_until_there(devices, at_site, left)
        kept = None
        if not destinations:

            async def only_here() -> Comparison:
                return compare_untouched(devices, await demo.kept(entry["entry_id"]))

            kept = await wait_until_there(devices, only_here, end - time.monotonic())
        outcome = report(
            destinations, kept, devices, started=started, log_problems=demo.hass.problems()
        )
        if symbols is not None:
            said = await wait_until_read(demo.api, entry["entry_id"], devices[0], READ_SECONDS)
            outcome |= said.as_dict()
        if not outcome["identical"]:
            say("Not everything arrived as it was. Home Assistant's last words:")
            say(demo.hass.tail(40))
            say(f"Entities: {json.dumps(await demo.entities(), indent=1)}")
    outcome["log_problems"] = demo.hass.problems()
    print(json.dumps(outcome), flush=True)
    return 0 if outcome["identical"] else 1


async def count_lines(options: argparse.Namespace, directory: Path) -> int:
    """Run headless for some minutes; prints what the activity says, and returns the exit code."""
    living = make_living_fleet(options.devices)
    async with make_harness(options, [each.device for each in living], directory) as demo:
        began = datetime.now(UTC)
        entry = await demo.set_up_account()
        await make_ready(demo, entry)
        say(f"Home Assistant is watched on {demo.hass.url} for {options.activity:g} minutes")
        life = asyncio.create_task(live_on(living))
        try:
            outcome = await watch(
                demo, entry["entry_id"], living, life, options.activity, began=began
            )
        finally:
            life.cancel()
    print(json.dumps(outcome), flush=True)
    return 0 if outcome["ok"] else 1


async def show(options: argparse.Namespace, buffers: Buffers, directory: Path) -> int:
    """Run for a person with a browser until Ctrl-C."""
    living = make_living_fleet(options.devices) if options.living else []
    devices = [each.device for each in living] or make_fleet(options.devices, buffers)
    symbols = await read_symbols(options)
    say("Starting Home Assistant ...")
    async with (
        make_harness(options, devices, directory, options.port) as demo,
        asyncio.TaskGroup() as life,
    ):
        entry = await demo.set_up_account()
        if symbols is not None:
            await demo.add_firmware(entry["entry_id"], symbols)
        await demo.add_collector(entry["entry_id"])
        await demo.add_site(entry["entry_id"])
        if living:
            await make_ready(demo, entry)
        received = f"  what the cloud received: {demo.directory / 'cloud'}\n"
        filed = f"  what went into the folder: {demo.folder}\n"
        fleet = f"  Clesyde's broker and API: {demo.directory / CLESYDE}\n"
        building = f"  UDMI's broker: {demo.directory / UDMI}\n"
        logged = f"  Pepeunit's broker and API: {demo.directory / PEPEUNIT}\n"
        say(
            f"\n  {demo.hass.url}/ulogger\n"
            f"  user {USER}, password {PASSWORD}\n\n"
            f"  configuration and log: {demo.hass.config}\n"
            f"{'' if options.no_cloud else received}"
            f"{filed if demo.folder else ''}"
            f"{logged if demo.pepeunit else ''}"
            f"{fleet if demo.clesyde else ''}"
            f"{building if demo.site else ''}\n"
            f"{entry['title']} is set up; Ctrl-C ends everything."
        )
        if living:
            life.create_task(live_on(living))
        else:
            for device in devices:
                life.create_task(live(device.firmware))
    return 0


def end_once(task: asyncio.Task[int]) -> None:
    """Let the first Ctrl-C or SIGTERM end the task, which then stops all that it started."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        say("Stopping ...")
        task.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, say, "Still stopping ...")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)


async def main(arguments: list[str]) -> int:
    """Do what the command line asks for, until it is done or somebody ends it."""
    options = parse(arguments)
    work = asyncio.create_task(run(options))
    end_once(work)
    try:
        return await work
    except asyncio.CancelledError:
        return 130 if options.check or options.activity is not None else 0


async def run(options: argparse.Namespace) -> int:
    """Check, or show, in a directory of its own."""
    buffers = Buffers.load(options.log, options.core_dump)
    headless = options.check or options.activity is not None

    async def run_in(directory: Path) -> int:
        if options.activity is not None:
            return await count_lines(options, directory)
        return await (check if options.check else show)(options, buffers, directory)

    if headless and options.keep is None:
        with tempfile.TemporaryDirectory(prefix="ulogger-demo-") as temporary:
            return await run_in(Path(temporary))
    directory = options.keep or DEMO_DIRECTORY
    if options.keep is None:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    await asyncio.to_thread(directory.mkdir, parents=True)
    return await run_in(directory)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except (ApiError, BrokerError, HassError, OSError, UnusableBufferError) as error:
        say(f"demo: {error}")
        sys.exit(1)
