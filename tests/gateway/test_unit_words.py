"""Why a unit goes on with its old file: a sentence, in the language of Home Assistant."""

import re

import pytest
from homeassistant.core import HomeAssistant

from custom_components.ulogger.account.key_store import SecretsNotKept
from custom_components.ulogger.cloud.errors import (
    CannotConnect,
    CloudError,
    NotAcknowledged,
    NotAuthorised,
    UnknownHost,
)
from custom_components.ulogger.cloud.pepeunit.errors import InvalidFile, RestError, RestFailure
from custom_components.ulogger.gateway.unit_words import why_kept
from tests.support.language import speak

SAID = (
    (InvalidFile("not_json"), "This is not JSON."),
    (InvalidFile("not_an_object"), "env.json has to be an object in braces."),
    (InvalidFile("missing_field", "PU_DOMAIN"), "PU_DOMAIN is missing."),
    (InvalidFile("out_of_range", "PU_MQTT_PORT", "1-65535"), "PU_MQTT_PORT has to be within"),
    (InvalidFile("would_be_readable", "PU_HTTP_TYPE"), "With this file the token would travel"),
    (RestError(RestFailure.FORBIDDEN, "status 403"), "Pepeunit does not let Workshop do that."),
    (
        RestError(RestFailure.UNREACHABLE, "ClientOSError"),
        "Pepeunit's API does not answer",
    ),
    (SecretsNotKept("disk"), "The disk did not take the files."),
    (NotAuthorised("5"), "The broker does not let this unit in."),
    (UnknownHost("[Errno -2]"), "The broker's name (PU_MQTT_HOST) has no address."),
    (CannotConnect("refused"), "Nothing answers at the broker's address."),
    (NotAcknowledged("no answer"), "The broker did not acknowledge."),
    (CloudError("?"), "Whatever answers there does not speak MQTT."),
)


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "zh-Hans"])
@pytest.mark.parametrize(("error", "said"), SAID)
async def test_a_file_that_is_not_taken_is_explained_in_a_sentence(
    hass: HomeAssistant, error: Exception, said: str, language: str
) -> None:
    await speak(hass, language)
    why = why_kept(hass, "Workshop", "env.json", error)
    assert why.endswith((".", "?", "。", "？"))
    assert why.startswith(said) is (language == "en")
    assert not re.search(r"status 403|ClientOSError|Errno|[{}]", why.replace("{}", ""))
    key = getattr(error, "problem", None) or getattr(error, "failure", None)
    assert str(key) not in why
