"""UDMI: a real Home Assistant as the gateway of scripted sites, each behind a real mosquitto.

    script/conformance udmi                  the scenarios
    script/conformance udmi --schema DIR     and every message is checked with UDMI's own schemas

DIR is the folder ``schema/`` of UDMI's public repository (``faucetsdn/udmi``). Without it messages
are held to the rules of ``demo/udmi/checking.py``. Scenarios that do not disturb one another are
played side by side; the report names those that held.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from demo.api import ApiError
from demo.udmi.checking import Schemas

from . import udmi_devices, udmi_life, udmi_points, udmi_tokens
from .udmi_stage import NotSo, Scenario, Stage

SIDE_BY_SIDE: Final = (
    udmi_life.CONFIGS | udmi_points.SAMPLING,
    udmi_points.WRITEBACK | udmi_devices.ATTACHING,
    udmi_devices.LOGS | udmi_devices.DISCOVERY,
    udmi_life.CERTIFICATE | udmi_devices.BLOBS,
    udmi_life.LATCH_ALONE,
    udmi_life.REDIRECTS,
    udmi_life.KEYS,
    udmi_tokens.TOKENS_ALONE,
)
"""Each has a gateway, or blocks of one, for itself."""
AT_LAST: Final = (udmi_life.ENDS,)
"""What disturbs all others, one after another."""


async def conform(
    directory: Path, schemas: Schemas | None, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Play all scenarios, or only those that are named, and report."""
    held: dict[str, bool] = {}
    stage = Stage(directory, schemas)
    async with stage:
        for part in (SIDE_BY_SIDE, AT_LAST):
            await asyncio.gather(*(_play(stage, each, held, only) for each in part))
        problems = stage.demo.hass.problems()
        invalid = [
            f"{name}: {each}"
            for name, site in stage.places.items()
            for each in (*site.invalid, *site.gate.faulty)
        ]
        for each in (*invalid[:50], *problems[:20]):
            print(each, file=sys.stderr)
        if not all(held.values()):
            print(stage.demo.hass.tail(30), file=sys.stderr)
        return {
            "messages": sum(len(site.messages) for site in stage.places.values()),
            "invalid": len(invalid),
            "schemas": schemas is not None,
            "scenarios": dict(sorted(held.items())),
        }


async def _play(
    stage: Stage, scenarios: Mapping[str, Scenario], held: dict[str, bool], only: Sequence[str]
) -> None:
    for name, scenario in scenarios.items():
        if only and name not in only:
            continue
        began = time.monotonic()
        try:
            await scenario(stage)
        except (NotSo, TimeoutError, OSError, ValueError, LookupError, ApiError) as err:
            print(f"{name}: {err}", file=sys.stderr)
            traceback.print_exc()
            held[name] = False
        else:
            held[name] = True
        print(f"{name}: {held[name]}, {time.monotonic() - began:.1f} s", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Run, print the report as the last line, and return whether all held."""
    parser = argparse.ArgumentParser(prog="script/conformance udmi", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--schema", type=Path, metavar="DIR", help="the folder of UDMI's schemas")
    parser.add_argument("--only", nargs="+", default=[], metavar="SCENARIO", help="only these")
    options = parser.parse_args(arguments)
    schemas = None
    if options.schema is not None:
        try:
            schemas = Schemas(options.schema)
        except (OSError, ValueError) as error:
            parser.error(f"--schema: {error}")
    with tempfile.TemporaryDirectory(prefix="ulogger-conformance-") as temporary:
        report = asyncio.run(conform(Path(temporary), schemas, options.only))
    print(json.dumps(report), flush=True)
    return 0 if not report["invalid"] and all(report["scenarios"].values()) else 1
