"""How fast the panel is: first lines, another filter, scrolling; what Home Assistant feels of it.

    script/bench panel              as lines for a person
    script/bench panel --json       one object

A real Home Assistant has an account with thousands of captures; a real browser opens the panel.
*first paint*: from the click in the sidebar until the newest lines are drawn, the module being
loaded for the first time. *filter*: from the choice of another level until lines of that level
stand on the screen, the median of some. *scroll*: frames a second while 100,000 pixels go by.
*loop late*: how late Home Assistant's event loop came at worst meanwhile, and how much of that is
not the machine's doing (`lateness`).
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

from playwright.async_api import Page

from custom_components.ulogger.capture.log_buffer import xor_checksum
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.outbox.outbox import Outbox
from demo.api import PASSWORD, USER, ApiError
from demo.device.log_memory import DEFAULT_HEADER
from demo.device.virtual import VirtualDevice
from demo.fleet import Buffers, make_fleet
from demo.harness import Harness
from demo.hass import REPOSITORY
from demo.living import Mood
from tests.support.chromium import open_page

CAPTURES: Final = 2_000
DEVICES: Final = 4
BUNDLE: Final = REPOSITORY / "custom_components/ulogger/panel/device-logs.js"
DAY: Final = 86_400.0
TIMES: Final = 30
TICKS: Final = 1_000
FILTERS: Final = ("error", "warning", "", "error", "metric", "", "warning", "error")
PATIENCE: Final = 240.0
LIMITS: Final = {"first_paint_ms": 1000.0, "filter_ms": 150.0, "loop_late_of_ours_ms": 20.0}
LATENESS: Final = {"PYTHONPATH": str(REPOSITORY), "ULOGGER_DEMO_LATENESS": "1"}

# Both wait until what they ask for stands on the screen, and then for the frame after that.
VIEW: Final = """const view = () => ['home-assistant', 'home-assistant-main', 'ulogger-panel',
  'ulogger-logs-view'].reduce((place, name) => (place?.shadowRoot ?? place)?.querySelector(name),
  document)?.shadowRoot;
const rows = () => [...(view()?.querySelector('ulogger-log-table')?.shadowRoot
  .querySelectorAll('.body [role=row]') ?? [])];
const until = async ready => {
  while (!ready()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
};
"""
FIRST_PAINT: Final = (
    "async () => {"
    + VIEW
    + """
  const find = place => [...place.querySelectorAll('*')].reduce((found, each) => found
    ?? (each.getAttribute('href') === '/ulogger' ? each : each.shadowRoot && find(each.shadowRoot))
    ?? null, null);
  const link = find(document);
  const began = performance.now();
  link.click();
  await until(() => rows().length > 5);
  return performance.now() - began;
}"""
)
FILTER: Final = (
    "async level => {"
    + VIEW
    + """
  const fits = {'': () => true, metric: row => row.querySelector('.metric'),
    warning: row => row.querySelector('.warning, .error, .critical'),
    error: row => row.querySelector('.error, .critical')}[level];
  const before = view().querySelector('ulogger-log-table').frames;
  const field = view().querySelector('ulogger-log-filters').shadowRoot
    .querySelector('[data-field=level]');
  const began = performance.now();
  field.value = level;
  field.dispatchEvent(new Event('change'));
  await until(() => rows().length > 5 && rows().every(fits)
    && view().querySelector('ulogger-log-table').frames !== before);
  return performance.now() - began;
}"""
)
SCROLL: Final = (
    "async pixels => {"
    + VIEW
    + """
  const body = view().querySelector('ulogger-log-table').shadowRoot.querySelector('.body');
  body.scrollTop = 0;
  const began = performance.now();
  let frames = 0;
  while (body.scrollTop < pixels && performance.now() - began < 5000) {
    body.scrollTop += 400;
    await new Promise(requestAnimationFrame);
    frames += 1;
  }
  return frames * 1000 / (performance.now() - began);
}"""
)
FOUND: Final = (
    "() => {" + VIEW + "return view()?.querySelector('[role=status]')?.textContent.trim() ?? ''; }"
)


def logs(devices: list[VirtualDevice], count: int, now: float) -> list[Capture]:
    """Return captures of the last day, each of its own time and with lines of its own."""
    found = []
    for number in range(count):
        at = now - DAY * (1 - (number + 1) / (count + 1))
        mood = Mood(Random(number))  # noqa: S311 - keeps no secret
        frames = b"".join(frame for _ in range(TIMES) for frame in mood.frames(TICKS))
        header = replace(
            DEFAULT_HEADER,
            anchor_tick=TIMES * TICKS,
            epoch_us=round(at * 1e6),
            used_bytes=len(frames),
            checksum=xor_checksum(frames),
        )
        identity = devices[number % len(devices)].identity
        found.append(Capture(CaptureKind.LOG, identity, header.pack() + frames, at))
    return found


async def fill(path: Path, captures: list[Capture]) -> None:
    """Put captures into an account's outbox while Home Assistant does not run."""
    outbox = await Outbox.open(path, _in_thread)
    for capture in captures:
        await outbox.add(capture)
    await outbox.close()


async def _in_thread(job: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(job, *arguments)


async def measure(count: int) -> dict[str, Any]:
    """Measure, with so many captures."""
    devices = make_fleet(DEVICES, Buffers.load())
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as directory:
        async with Harness(Path(directory), devices, to_cloud=False, environment=LATENESS) as demo:
            entry = await demo.set_up_account()
            await asyncio.gather(*(each.emptied.wait() for each in devices))
            await demo.hass.stop()
            path = demo.hass.config / f".storage/ulogger/{entry['entry_id']}.sqlite"
            await fill(path, logs(devices, count, time.time()))
            await demo.restart_hass()
            async with open_page() as page:
                return await _in_browser(page, demo, count)


async def _in_browser(page: Page, demo: Harness, count: int) -> dict[str, Any]:
    await page.goto(f"{demo.hass.url}/profile")
    await page.locator("input[name=username]").fill(USER)
    await page.locator("input[name=password]").fill(PASSWORD)
    await page.get_by_role("button", name="Log in", exact=True).first.click()
    await page.locator("ha-sidebar").get_by_text("Device logs").wait_for()
    await _quiet(demo)
    without = await demo.api.command("ulogger_demo/lateness")
    first = await page.evaluate(FIRST_PAINT)
    await _found(page)
    lines = int((await page.evaluate(FOUND)).split()[0])
    filters = []
    for level in FILTERS:
        filters.append(await page.evaluate(FILTER, level))
        await _found(page)
    late = await demo.api.command("ulogger_demo/lateness")
    fps = await page.evaluate(SCROLL, 100_000)
    return {
        "bench": "panel",
        "captures": count,
        "lines": lines,
        "first_paint_ms": round(first),
        "filter_ms": round(statistics.median(filters)),
        "filter_worst_ms": round(max(filters)),
        "scroll_fps": round(fps),
        "bundle_kb": round(BUNDLE.stat().st_size / 1000, 1),
        "loop_late_ms": late["worst_ms"],
        "loop_late_of_ours_ms": late["ours_ms"],
        "loop_late_without_ms": without["worst_ms"],
    }


async def _quiet(demo: Harness) -> None:
    """Wait until Home Assistant has read what it found at its start."""
    end, before = time.monotonic() + PATIENCE, -1.0
    while time.monotonic() < end:
        try:
            spent = (await demo.api.command("ulogger_demo/lateness"))["processor_seconds"]
        except ApiError:
            spent = -1.0  # Home Assistant is not that far yet.
        if before >= 0 and spent - before < 0.3:
            return
        before = spent
        await asyncio.sleep(2)


async def _found(page: Page) -> None:
    """Wait until a search has come to its end."""
    wanted = r"/^\d+ lines(, and more.*)?$/"
    await page.wait_for_function(f"() => {wanted}.test(({FOUND})())", timeout=PATIENCE * 1000)


def main() -> None:
    """Print what was measured; ends with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="script/bench panel", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--captures", type=int, default=CAPTURES, metavar="N")
    options = parser.parse_args()
    row = asyncio.run(measure(options.captures))
    row["within_limits"] = all(
        row[name] is None or row[name] < limit for name, limit in LIMITS.items()
    )
    if options.json:
        print(json.dumps(row))
    else:
        for name, value in row.items():
            print(f"{name:24} {value}")
    sys.exit(0 if row["within_limits"] else 1)


if __name__ == "__main__":
    main()
