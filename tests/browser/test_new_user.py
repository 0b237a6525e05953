"""What a new user meets in a browser, on a Home Assistant that runs as a process."""

from pathlib import Path

import pytest

from tests.browser.walk import DEVICES, MINUTES, start
from tests.support.chromium import MISSING, find_chromium

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("home_assistant_demo"),
    pytest.mark.skipif(find_chromium() is None, reason=MISSING),
]


@pytest.mark.usefixtures("socket_enabled")
async def test_a_new_user_gets_from_the_first_page_to_a_renewed_certificate(
    tmp_path: Path,
) -> None:
    async with start(tmp_path) as tour:
        first, second = tour.demo.devices
        try:
            await tour.sign_in()
            await tour.add_integration()
            assert await tour.try_a_key_of_another_certificate() == "archive"
            assert await tour.demo.api.entries("ulogger") == []

            await tour.upload_the_right_certificate()
            [entry] = await tour.demo.api.entries("ulogger")
            assert entry["state"] == "loaded"

            asked = await tour.approve(first, second)
            assert "application 42" in asked
            assert first.identity.device_type in asked

            await tour.see_the_entry(DEVICES)
            await tour.see_the_device(first)
            await tour.upload_now(first)
            assert first.empty

            diagnostics = await tour.download_diagnostics()
            assert diagnostics["integration_manifest"]["domain"] == "ulogger"
            assert tour.broker.customer.private_key not in str(diagnostics)

            await tour.change_options(MINUTES)
            await tour.lose_the_certificate()
            await tour.renew_the_certificate()
            await tour.see_that_all_is_well()
        except BaseException:
            await tour.page.screenshot(path=tmp_path / "failure.png")
            print(f"The page as it was: {tmp_path / 'failure.png'}")
            raise
        assert tour.demo.hass.problems() == []
