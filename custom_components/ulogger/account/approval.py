"""Which applications are collected, by which account, and which are left alone.

Collecting erases a device's memory, and the device in range may be a neighbour's: consent is
given per application, to exactly one account. It stands in the options of that account; an
application that a person ignored is an entry of its own, made by Home Assistant.
"""

from collections.abc import Mapping
from typing import Any

from homeassistant.config_entries import (
    SOURCE_BLUETOOTH,
    SOURCE_IGNORE,
    SOURCE_INTEGRATION_DISCOVERY,
    ConfigEntry,
)
from homeassistant.core import HomeAssistant, callback

from ..const import CONF_APPLICATIONS, CONF_CONFIRMED_ADDRESS, CONF_DEVICE_TYPES, DOMAIN

MOST_CARDS = 10
"""Discovery cards that are shown at a time; anybody near can advertise for any number."""

type Options = Mapping[str, Any]


def application_unique_id(application_id: int) -> str:
    """Name the discovery card of an application, so that it can be ignored for good."""
    return f"application-{application_id}"


def is_approved(options: Options, application_id: int) -> bool:
    """Say whether an account with these options collects the application's devices."""
    return str(application_id) in options.get(CONF_APPLICATIONS, {})


def approving_entry(hass: HomeAssistant, application_id: int) -> ConfigEntry[Any] | None:
    """Find the account that the application belongs to."""
    entries = hass.config_entries.async_entries(DOMAIN, include_ignore=False)
    return next((entry for entry in entries if is_approved(entry.options, application_id)), None)


def claimed_elsewhere(hass: HomeAssistant, entry: ConfigEntry[Any]) -> dict[int, ConfigEntry[Any]]:
    """Return the applications that an account was given though they belong to another, with it.

    Forms refuse that; a backup that is restored, or options that were edited, may bring it about.
    """
    owners = {
        int(application): approving_entry(hass, int(application))
        for application in entry.options.get(CONF_APPLICATIONS, {})
    }
    return {key: owner for key, owner in owners.items() if owner is not None and owner is not entry}


def is_ignored(hass: HomeAssistant, application_id: int) -> bool:
    """Say whether a person asked to leave the application's devices alone."""
    return _is_ignored(hass, application_unique_id(application_id))


def is_address_ignored(hass: HomeAssistant, address: str) -> bool:
    """Say whether a person ignored this very device before there was an account."""
    return _is_ignored(hass, address)


def _is_ignored(hass: HomeAssistant, unique_id: str) -> bool:
    entry = hass.config_entries.async_entry_for_domain_unique_id(DOMAIN, unique_id)
    return entry is not None and entry.source == SOURCE_IGNORE


def room_for_cards(hass: HomeAssistant) -> int:
    """Return how many more discovery cards may be shown."""
    shown = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    sources = [flow["context"]["source"] for flow in shown]
    cards = sources.count(SOURCE_BLUETOOTH) + sources.count(SOURCE_INTEGRATION_DISCOVERY)
    return MOST_CARDS - cards


@callback
def close_pointless_cards(hass: HomeAssistant) -> None:
    """Close the cards that ask nothing any more.

    Those of applications that belong to an account by now, those that no account is left for,
    and those of single devices where there is an account, which takes devices in by itself.
    """
    entries = hass.config_entries.async_entries(DOMAIN, include_ignore=False)
    working = any(entry.disabled_by is None for entry in entries)
    settled = {
        application_unique_id(int(application))
        for entry in entries
        for application in entry.options.get(CONF_APPLICATIONS, {})
    }
    for flow in hass.config_entries.flow.async_progress_by_handler(DOMAIN):
        source, about = flow["context"]["source"], flow["context"].get("unique_id")
        of_application = source == SOURCE_INTEGRATION_DISCOVERY
        if (of_application and (about in settled or not working)) or (
            source == SOURCE_BLUETOOTH and entries
        ):
            hass.config_entries.flow.async_abort(flow["flow_id"])


def with_application(options: Options, application_id: int, device_type: str) -> dict[str, Any]:
    """Return the options with the application approved and the device type remembered."""
    applications: dict[str, Any] = dict(options.get(CONF_APPLICATIONS, {}))
    known = applications.get(str(application_id), {}).get(CONF_DEVICE_TYPES, [])
    seen = {device_type} - {""}
    applications[str(application_id)] = {CONF_DEVICE_TYPES: sorted({*known, *seen})}
    return {**options, CONF_APPLICATIONS: applications}


def without_application(options: Options, application_id: int) -> dict[str, Any]:
    """Return the options without the consent to collect the application's devices."""
    applications: dict[str, Any] = dict(options.get(CONF_APPLICATIONS, {}))
    applications.pop(str(application_id), None)
    return {**options, CONF_APPLICATIONS: applications}


def with_confirmation_used(
    options: Options, application_id: int, device_type: str
) -> dict[str, Any]:
    """Approve what the device from whose card the account was set up turned out to be."""
    approved = with_application(options, application_id, device_type)
    approved.pop(CONF_CONFIRMED_ADDRESS, None)
    return approved
