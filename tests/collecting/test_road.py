"""From the advertisement to the acknowledgement, inside a Home Assistant."""

from homeassistant.core import HomeAssistant

from custom_components.ulogger.capture.log_buffer import with_session_token
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from tests.support.road import CORE_DUMP, IDENTITY, LOG, Road, add_account


async def test_a_log_and_a_core_dump_arrive_as_they_were_but_for_the_token(
    hass: HomeAssistant, broker: LocalBroker, cloud_service: LocalCloud, road: Road
) -> None:
    device = road.device(core_dump=CORE_DUMP)
    entry = await add_account(hass, broker)
    await road.collected(device)
    [log] = await cloud_service.wait_for("binlog")
    [dump] = await cloud_service.wait_for("core-dump")
    assert log.token in cloud_service.registrations
    assert cloud_service.device_of(log).serial == IDENTITY.serial
    assert dump.payload == CORE_DUMP
    assert entry.runtime_data is not None
    header = with_session_token(LOG, log.token)
    assert log.payload[25:] == LOG[25:]
    assert log.payload[:9] == header[:9]
