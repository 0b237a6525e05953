"""Log records of this integration are entries of the gateway, whatever is in them."""

import logging
from collections.abc import Mapping
from typing import Any

from homeassistant.core import HomeAssistant

from custom_components.ulogger.gateway.udmi_records import CARRIERS, OWN, Records


class Told:
    """Takes what a gateway is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def tell(self, entry: Mapping[str, Any]) -> None:
        self.messages.append(entry["message"])


async def test_records_are_told_with_their_errors_until_nobody_listens(
    hass: HomeAssistant,
) -> None:
    told = Told()
    logger = logging.getLogger(f"{OWN}.outbox")
    records = Records(hass, told)  # type: ignore[arg-type]
    stop = records.start()
    logger.warning("%d captures", 3)
    logger.error("Not kept", exc_info=OSError("full"))
    odd = logging.LogRecord(logger.name, logging.WARNING, "a/odd.py", 1, "%d %d", ("x",), None)
    records.handle(odd)
    for carrier in CARRIERS:
        logging.getLogger(carrier).warning("sending this would make the next")
    await hass.async_block_till_done()
    stop()
    logger.warning("nobody listens")
    await hass.async_block_till_done()
    assert told.messages == [
        "3 captures",
        "Not kept (OSError: full)",
        "A record of odd that does not fit its values",
    ]
