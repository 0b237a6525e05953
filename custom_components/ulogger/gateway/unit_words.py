"""Why a unit goes on with the file it has: in words, for a person."""

from homeassistant.core import HomeAssistant

from ..account.key_store import SecretsNotKept
from ..cloud.errors import CredentialsRefused
from ..cloud.pepeunit.errors import InvalidFile, RestError
from ..model.plain_text import plain_text
from ..model.reason import Reason
from .own_texts import own_reason, own_sentence, own_text

_FORM = "config_subentries.pepeunit.error"
"""What is wrong with a file reads as in the form that takes it."""


def why_kept(hass: HomeAssistant, unit: str, file: str, err: Exception) -> str:
    """Say in a sentence why a new *file* of *unit* could not be taken."""
    match err:
        case InvalidFile():
            told = {"field": plain_text(err.field or file), "detail": plain_text(err.detail)}
            return (own_text(hass, f"{_FORM}.{err.problem}") or "").format(**told)
        case RestError():
            return own_sentence(hass, err.failure, device=unit, detail=plain_text(err.detail))
        case SecretsNotKept():
            return own_text(hass, f"{_FORM}.secrets_not_kept") or ""
        case CredentialsRefused():
            return own_text(hass, f"{_FORM}.unit_refused") or ""
    reason = getattr(err, "reason", Reason.CLOUD_FAILED)
    return own_text(hass, f"{_FORM}.{reason}") or f"{own_reason(hass, reason)}."
