"""Home Assistant as a process: its configuration directory, its start and every way to end it."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from homeassistant.const import RESTART_EXIT_CODE

from .api import Api

REPOSITORY = Path(__file__).parent.parent
START_SECONDS = 90.0
STOP_SECONDS = 30.0

CONFIGURATION = """\
# Written by script/demo: a small Home Assistant whose only radio is the demo's Bluetooth proxy.
homeassistant:
  name: uLogger demo
  country: DE
  time_zone: UTC
  allowlist_external_dirs:
    - {images}
frontend:
config:
history:
logbook:
my:
bluetooth:
automation: !include automations.yaml
script: !include scripts.yaml
scene: !include scenes.yaml
logger:
  default: warning
  logs:
    custom_components.ulogger: info
    # Neither a camera nor a voice is part of the demo.
    haffmpeg: critical
    homeassistant.components.ffmpeg: critical
    homeassistant.components.camera: critical
ulogger_demo:
  port: {radio_port}
"""

# What the browser saves to: it edits only what is in files of these names.
EDITABLE = {"automations.yaml": "[]\n", "scripts.yaml": "{}\n", "scenes.yaml": "[]\n"}

# Questions of a first start that would add integrations which talk to the internet.
ONBOARDING = {
    "version": 4,
    "minor_version": 1,
    "key": "onboarding",
    "data": {"done": ["core_config", "analytics", "integration"]},
}

OUR_PROBLEM = re.compile(
    r"^\S+ \S+ (WARNING|ERROR|CRITICAL) .*ulogger|^  File .*custom_components/ulogger/"
    r"|Detected blocking call.*ulogger"
)
# Home Assistant says this of every custom integration.
EXPECTED = re.compile(r"We found a custom integration|SetupPhases|has not been tested")


class HassError(Exception):
    """Home Assistant did not start, or ended by itself."""


class Hass:
    """One configuration directory and, now and then, a process that runs it.

    ``environment`` holds further variables of the process, ``configuration`` further lines of
    ``configuration.yaml``.
    """

    def __init__(
        self,
        config: Path,
        *,
        port: int,
        radio_port: int,
        environment: Mapping[str, str] | None = None,
        configuration: str = "",
    ) -> None:
        """Prepare to run in ``config``, serving the browser on ``port``."""
        self.config = config
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = config / "home-assistant-output.log"
        self.temporary = config / "tmp"
        self.images = config / "firmware"
        self._radio_port = radio_port
        self._environment = dict(environment or {})
        self._configuration = configuration
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def write_configuration(self) -> None:
        """Lay out the directory: configuration, web server's address, both components."""
        components = self.config / "custom_components"
        components.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(exist_ok=True)
        self.images.mkdir(exist_ok=True)
        for name, source in (
            ("ulogger", REPOSITORY / "custom_components/ulogger"),
            ("ulogger_demo", REPOSITORY / "demo/custom_components/ulogger_demo"),
        ):
            if not (components / name).exists():
                (components / name).symlink_to(source)
        (self.config / "configuration.yaml").write_text(
            CONFIGURATION.format(radio_port=self._radio_port, images=self.images)
            + self._configuration
        )
        for name, empty in EDITABLE.items():
            if not (self.config / name).exists():
                (self.config / name).write_text(empty)
        storage = self.config / ".storage"
        storage.mkdir(exist_ok=True)
        (storage / "http").write_text(json.dumps(web_server(self.port)))
        (storage / "onboarding").write_text(json.dumps(ONBOARDING))

    async def start(self) -> None:
        """Run Home Assistant and return when it answers; HassError tells why it does not.

        Asked for in its own interface, it is restarted, as its operating system would.
        """
        process = await self._run()
        self._supervisor = asyncio.create_task(self._restart_when_asked(process))
        try:
            async with asyncio.timeout(START_SECONDS), Api(self.url) as api:
                while not await api.answers():
                    if process.returncode is not None:
                        raise HassError(
                            f"Home Assistant ended with {process.returncode}:\n{self.tail()}"
                        )
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise HassError(
                f"Home Assistant did not answer on {self.url} within {START_SECONDS:.0f} s:\n"
                f"{self.tail()}"
            ) from error

    async def _restart_when_asked(self, process: asyncio.subprocess.Process) -> None:
        while await process.wait() == RESTART_EXIT_CODE:
            process = await self._run()

    async def _run(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "homeassistant",
                "--config",
                str(self.config),
                "--skip-pip",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.config,
                env={
                    **os.environ,
                    # What Home Assistant keeps there has names that another one would share.
                    "TMPDIR": str(self.temporary),
                    **self._environment,
                    "PYTHONUNBUFFERED": "1",
                },
            )
        self._process = process
        return process

    async def stop(self) -> None:
        """Ask Home Assistant to end, and insist after a while."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End Home Assistant as a power cut would."""
        await self._end(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal, for example SIGSTOP and SIGCONT."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
            self._supervisor = None
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def tail(self, lines: int = 20) -> str:
        """Return the last lines that Home Assistant printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def problems(self) -> list[str]:
        """Warnings, errors and traces in the log that name our integration."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        for line in self.log.read_text(errors="replace").splitlines():
            plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
            if OUR_PROBLEM.search(plain) and not EXPECTED.search(plain):
                yield plain


def web_server(port: int) -> dict[str, object]:
    """Return the web server's settings as Home Assistant keeps them since they left YAML."""
    stable = {
        "server_host": ["127.0.0.1"],
        "server_port": port,
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": False,
        "ssl_profile": "modern",
        "use_x_frame_options": True,
        "created_at": "2026-01-01T00:00:00+00:00",
        "error": None,
        "error_message": None,
    }
    data = {"stable": stable, "pending": None, "yaml_migration_done": True}
    return {"version": 2, "minor_version": 2, "key": "http", "data": data}
