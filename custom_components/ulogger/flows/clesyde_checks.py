"""Whether a thing can be used: one real connection, as it will be made later."""

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant

from ..cloud.clesyde.certificates import client_context
from ..cloud.clesyde.errors import ThingError
from ..cloud.clesyde.thing import Thing
from ..cloud.errors import CloudError
from ..cloud.mqtt.broker import Broker
from ..cloud.mqtt.connection import MqttConnection
from ..const import DOMAIN, SUBENTRY_CLESYDE
from .account_checks import FormError


async def async_check_thing(hass: HomeAssistant, thing: Thing) -> None:
    """Connect to the thing's broker with its certificate; raises FormError that says why not.

    AWS lets a thing connect under its own name only, so a running connection of it is ended.
    """
    host, port = thing.broker
    try:
        context = await hass.async_add_executor_job(client_context, thing.iot_ca, thing.iot)
    except ThingError as err:
        raise FormError(**{err.field: err.reason}) from err
    broker = Broker(host=host, port=port, client_id=thing.name, tls=context, version_5=True)
    connection = MqttConnection(
        broker, on_message=lambda _topic, _payload, _retained: None, on_end=lambda: None
    )
    try:
        await connection.open()
    except CloudError as err:
        raise FormError(base=err.reason) from err
    finally:
        await connection.close()


def thing_is_taken(hass: HomeAssistant, thing: Thing, but: str | None) -> bool:
    """Whether another destination of any account is this thing; *but* is a subentry's ID."""
    entries: list[ConfigEntry] = hass.config_entries.async_entries(DOMAIN)
    return any(
        each.unique_id == thing.name and each.subentry_id != but
        for entry in entries
        for each in entry.get_subentries_of_type(SUBENTRY_CLESYDE)
    )
