"""A new user's way through Home Assistant's pages, from signing in to a renewed certificate.

The test walks it and looks; ``script/screenshots`` walks it and takes pictures. Everything is
done with the browser, except what happens outside of Home Assistant: a device comes into range,
the broker changes its mind.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import FilePayload, Locator, Page

from demo.api import PASSWORD, USER
from demo.cloud.broker import LocalBroker
from demo.cloud.certificates import Issued
from demo.device.life import metric_frame
from demo.device.virtual import VirtualDevice
from demo.harness import CUSTOMER_ID, Harness

type TakePicture = Callable[[str], Awaitable[None]]

INTEGRATIONS = "/config/integrations/dashboard"
INTEGRATION = "/config/integrations/integration/ulogger"
REPAIRS = "/config/repairs"
FORMS = (
    ("Add OpenTelemetry collector", "The collector is asked before", "collector"),
    ("Add UDMI gateway", "Give the endpoint as the site hands it out", "udmi"),
    ("Add Pepeunit unit", "Give the two files of the unit", "pepeunit"),
    ("Add Clesyde", "becomes a device of your fleet", "clesyde"),
)
"""What adds a destination, what its form shows, and the name of the picture."""
ARCHIVE = "Certificate download (zip)"
AUTHORITY = "Own certificate authority"


class Tour:
    """The steps, to be taken in this order; each leaves the page where the next begins."""

    def __init__(self, page: Page, demo: Harness, take_picture: TakePicture) -> None:
        self.page = page
        self.demo = demo
        self._take_picture = take_picture

    @property
    def broker(self) -> LocalBroker:
        """The broker that is told to refuse certificates."""
        return self.demo.broker

    async def sign_in(self) -> None:
        """Sign in, and arrive at the integrations."""
        await self._go(INTEGRATIONS)
        await self.page.locator("input[name=username]").fill(USER)
        await self.page.locator("input[name=password]").fill(PASSWORD)
        await self._press("Log in")
        await self._button("Add integration").wait_for()

    async def add_integration(self) -> None:
        """Find uLogger among the brands, and choose to connect with a certificate."""
        await self._press("Add integration")
        await self.page.get_by_placeholder("Search for a brand name").fill("ulogger")
        await self.page.get_by_text("uLogger", exact=True).click()
        await self.page.get_by_text("Needs no certificate here").wait_for()
        await self._picture("add-integration")
        await self.page.get_by_text("Connect with a certificate").click()
        await self.page.get_by_text("shown in the uLogger portal").wait_for()

    async def try_a_key_of_another_certificate(self) -> str:
        """Fill the form in, with a zip that can't work; returns the field that is blamed."""
        stranger = Issued.by(self.broker.authority.issuer, "stranger.invalid")
        wrong = Issued(self.broker.customer.certificate, stranger.private_key)
        await self._number("Customer ID").fill(str(CUSTOMER_ID))
        await self._picture("certificate")
        await self._upload(ARCHIVE, "connect.zip", wrong.download())
        await self._press("Broker")
        await self.page.locator("input[name=broker]").fill(self.broker.host)
        await self._number("Port").fill(str(self.broker.port))
        await self._upload(AUTHORITY, "ca.pem", self.broker.ca.encode())
        await self._press("Submit")
        complaint = self.page.locator("ha-alert", has_text="private key does not belong")
        await complaint.scroll_into_view_if_needed()
        await self._picture("wrong-certificate")
        blamed: str = await complaint.evaluate("alert => alert.nextElementSibling.schema.name")
        return blamed

    async def upload_the_right_certificate(self) -> None:
        """Replace the zip, keep the rest, and have the account."""
        await (
            self.page.locator("ha-selector-file").first.get_by_role("button", name="Delete").click()
        )
        await self._upload(ARCHIVE, "connect.zip", self.broker.download)
        await self._press("Submit")
        await self._button("Skip and finish").wait_for()
        await self._picture("account")
        await self._press("Skip and finish")

    async def approve(self, *devices: VirtualDevice) -> str:
        """Let devices come into range, answer their application's card; returns the question."""
        for device in devices:
            device.in_reach = True
        await self._go(INTEGRATIONS)
        card = self.page.locator("ha-config-flow-card", has_text="uLogger Example")
        await card.wait_for()
        await self._picture("discovered")
        await card.get_by_role("button", name="Add").click()
        asked = await self.page.get_by_text("belongs to application").first.inner_text()
        await self._picture("consent")
        await self._press("Submit")
        await self.page.get_by_text("are collected from now on").wait_for()
        return asked

    async def see_the_entry(self, devices: int) -> None:
        """See the account with its devices on the integration's page."""
        await self._go(INTEGRATION)
        await self.page.get_by_text(f"{devices} devices").first.wait_for()
        await self._picture("integration")

    async def see_the_device(self, device: VirtualDevice) -> None:
        """Open a device's page, on which its first two captures have been uploaded."""
        await self.page.get_by_text(device.identity.serial).first.click()
        await self._line("Last upload").filter(has_text=re.compile("second|minute")).wait_for()
        await self._line("Waiting to upload").filter(has_text="0").wait_for()
        # The core dump is read once the device was released.
        await self._line("Last crash").filter(has_not_text="Unknown").wait_for()
        await self.page.get_by_text("Download diagnostics").wait_for()
        await self._picture("device")

    async def upload_now(self, device: VirtualDevice) -> None:
        """Have the device log something, and press the button."""
        frame = metric_frame("temperature", 21.5, 1000)
        before = await self._last_upload()
        device.firmware.append_log(frame)
        await self._press("Press")
        async with asyncio.timeout(60):
            while not (device.empty and self._arrived(frame)):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            # Shown in whole seconds: the first captures may have gone up in the same one.
            while await self._last_upload() < before:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await self._picture("upload-now")

    async def download_diagnostics(self) -> dict[str, Any]:
        """Download the device's diagnostics; returns what is in the file."""
        async with self.page.expect_download() as download:
            await self._press("Download diagnostics")
        file = await (await download.value).path()
        content: dict[str, Any] = json.loads(await asyncio.to_thread(file.read_text))
        return content

    async def change_options(self, minutes: int) -> None:
        """Have devices collected every so many minutes."""
        await self._go(INTEGRATION)
        await self._press("Configure")
        await self.page.get_by_text("Devices are found by the name").wait_for()
        await self._picture("options")
        await self._number("Collection interval").fill(str(minutes))
        await self._press("Submit")
        await self.page.get_by_text("Options successfully saved").wait_for()
        await self._press("Finish")

    async def lose_the_certificate(self) -> None:
        """Let the broker refuse the certificate, and be told so."""
        await self.broker.arefuse_customer()
        await self._button("Reconfigure").wait_for()
        await self._picture("attention")
        await self._go(REPAIRS)
        await self.page.get_by_text("Authentication expired for").wait_for()
        await self._picture("repairs")

    async def renew_the_certificate(self) -> None:
        """Authenticate again with a new certificate."""
        renewed = Issued.by(
            self.broker.authority.issuer,
            "renewed.invalid",
            common_name=f"customer-{CUSTOMER_ID}",
        )
        await self._go(INTEGRATION)
        await self._press("Reconfigure")
        await self.page.get_by_text("A file shown as unknown").wait_for()
        await self._picture("new-certificate")
        await self._upload(ARCHIVE, "connect.zip", renewed.download())
        await self._press("Submit")
        await self.page.get_by_text("Re-authentication was successful").wait_for()

    async def see_that_all_is_well(self) -> None:
        """See that nothing is left to repair, and the connection on the account's page."""
        await self._go(REPAIRS)
        await self.page.get_by_text("There are currently no repairs pending").wait_for()
        await self._go(INTEGRATION)
        await self.page.get_by_text("uLogger • ").click()
        connection = self._line("Cloud connection")
        await connection.filter(has_text="Connected").wait_for()
        await self._picture("cloud-connection")

    async def see_the_forms_of_destinations(self) -> None:
        """Begin to add each kind of destination to the account."""
        for button, shown, picture in FORMS:
            await self._go(INTEGRATION)
            await self.page.get_by_text(button).first.click()
            await self.page.get_by_text(shown).wait_for()
            await self._picture(picture)

    def _arrived(self, frame: bytes) -> bool:
        """Tell whether a frame of a device's log is in the cloud."""
        return any(frame in log.payload for log in self.demo.cloud.of("binlog"))

    async def _go(self, path: str) -> None:
        await self.page.goto(self.demo.hass.url + path)

    async def _last_upload(self) -> str:
        """Return when the device that is looked at was uploaded last, in ISO 8601."""
        states = await self.demo.api.states()
        return max(
            state["state"] for name, state in states.items() if name.endswith("_last_upload")
        )

    def _line(self, name: str) -> Locator:
        """Find an entity's line on a device's page."""
        line = self.page.locator(
            "hui-simple-entity-row, hui-sensor-entity-row, hui-toggle-entity-row"
        )
        return line.filter(has_text=name)

    def _button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True).first

    def _number(self, name: str) -> Locator:
        return self.page.get_by_role("spinbutton", name=name)

    async def _press(self, name: str) -> None:
        await self._button(name).click()

    async def _upload(self, field: str, name: str, content: bytes) -> None:
        chooser = self.page.locator("ha-file-upload", has_text=field)
        file: FilePayload = {
            "name": name,
            "mimeType": "application/octet-stream",
            "buffer": content,
        }
        await chooser.locator("input[type=file]").set_input_files(file)
        await self.page.get_by_text(name, exact=True).wait_for()

    async def _picture(self, name: str) -> None:
        await self._take_picture(name)
