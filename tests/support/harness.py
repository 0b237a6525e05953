"""What the test harness needs to run with another release of Home Assistant than its own.

Given to pytest as a plugin by ``script/test --home-assistant``, before the harness itself is
loaded. Each entry says what is in the way; it goes when the harness of that release is out.
"""

# 2026.11 puts httpx2 in the place of httpx, which must not have been imported by then; the harness
# imports it by way of respx before it imports Home Assistant.
from homeassistant.components import logger
from homeassistant.components.logger import helpers

# 2026.11 no longer hands this on from the package, where the harness looks for it.
if not hasattr(logger, "_clear_logger_overwrites"):
    vars(logger)["_clear_logger_overwrites"] = helpers._clear_logger_overwrites
