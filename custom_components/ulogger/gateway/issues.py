"""What a person should look at: repair issues, raised and cleared by the state of things."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from homeassistant.components import bluetooth
from homeassistant.core import DOMAIN as HOMEASSISTANT_DOMAIN
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.event import async_track_time_interval
from homeassistant.helpers.singleton import singleton
from homeassistant.util import dt as dt_util

from ..account import approval
from ..account.device_registry import registered_device
from ..account.unit_files import units
from ..cloud.destination import ConnectionState
from ..cloud.folder.folder import FolderDestination
from ..cloud.otlp.otlp import OtlpDestination
from ..const import DOMAIN, SUBENTRY_CLESYDE
from ..model.identity import ULOGGER
from ..model.plain_text import LONGEST_LINE, one_line, plain_text
from ..model.reason import Reason
from .destinations import ActiveDestination
from .gateway import UloggerConfigEntry
from .issue import Issue
from .newcomers import MOST_AT_ADDRESS
from .own_texts import own_sentence
from .pepeunit import ActivePepeunit
from .thing_issues import thing_issues
from .udmi_issues import site_issues
from .udmi_site import ActiveUdmi
from .unit_issues import unit_issues

EVALUATE_EVERY = timedelta(minutes=1)
CERTIFICATE_NOTICE = timedelta(days=30)
REFUSED_PATIENCE = 30.0
CLOUD_PATIENCE = 3600.0
DEVICE_PATIENCE = 24 * 3600.0
QUOTA_DAYS = 3

_LOGGER = logging.getLogger(__name__)


def collector_issues(
    active: ActiveDestination, collector: OtlpDestination, *, patience_over: bool
) -> Iterator[Issue]:
    """Say what is wrong with a collector that only a person can mend."""
    failure = collector.failure
    placeholders = {"destination": active.title, "count": str(active.counters.waiting)}
    about, detail = active.id, str(failure or "")
    match failure and failure.reason:
        case Reason.API_TOKEN_REFUSED:
            error = ir.IssueSeverity.ERROR
            yield Issue("otlp_refused", about, False, error, placeholders, detail=detail)
        case Reason.TLS_UNTRUSTED:
            yield Issue("otlp_untrusted", about, placeholders=placeholders, detail=detail)
        case Reason.NOT_A_COLLECTOR:
            yield Issue("otlp_not_a_collector", about, placeholders=placeholders, detail=detail)
        case Reason.REDIRECTED:
            yield Issue("otlp_redirected", about, placeholders=placeholders, detail=detail)
        case _ if patience_over:
            yield Issue("otlp_unreachable", about, placeholders=placeholders, detail=detail)
    if collector.rejected:
        said = {**placeholders, "count": str(collector.rejected)}
        if collector.rejection:
            quoted = {**said, "detail": collector.rejection}
            yield Issue("otlp_rejected", about, placeholders=quoted)
        else:
            yield Issue("otlp_rejected_silently", about, placeholders=said)


class Issues:
    """One account's issues, kept equal to what is the case."""

    def __init__(self, hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
        self.hass = hass
        self._entry = entry
        self._gateway = entry.runtime_data
        self._shown: dict[str, Issue] = {}
        self._refused_since: float | None = None
        # Outlives a reload, so that a card that was ignored does not come back with it.
        self._ignored = _ignored(hass).setdefault(entry.entry_id, set())

    @callback
    def start(self) -> None:
        """Evaluate now, on changes and every minute, until the entry is unloaded."""
        on_unload = self._entry.async_on_unload
        on_unload(self._gateway.account.changed.add(self.evaluate))
        on_unload(async_track_time_interval(self.hass, self._evaluate_at, EVALUATE_EVERY))
        on_unload(self._clear)
        self.evaluate()

    @callback
    def _evaluate_at(self, _now: datetime) -> None:
        self.evaluate()

    @callback
    def evaluate(self) -> None:
        """Raise what is the case and not shown, clear what is shown and no longer the case."""
        active = {self._issue_id(issue): issue for issue in self._active()}
        for issue_id in self._shown.keys() - active.keys():
            ir.async_delete_issue(self.hass, DOMAIN, issue_id)
            self._ignored.discard(issue_id)
        registry = ir.async_get(self.hass)
        for issue_id, issue in active.items():
            # A card that was answered is gone, whether or not that has helped.
            there = registry.async_get_issue(DOMAIN, issue_id) is not None
            before = self._shown.get(issue_id)
            if before is None and issue.detail:
                _LOGGER.info("%s: %s (%s)", self._entry.title, one_line(issue.detail), issue.key)
            if there and before == issue:
                continue
            if there and before is not None and issue.count > before.count:
                # Whoever left it at that has not seen this.
                ir.async_delete_issue(self.hass, DOMAIN, issue_id)
                self._ignored.discard(issue_id)
            ir.async_create_issue(
                self.hass,
                DOMAIN,
                issue_id,
                data={"entry_id": self._entry.entry_id, "about": issue.about},
                is_fixable=issue.fixable,
                severity=issue.severity,
                translation_key=issue.key,
                translation_placeholders={
                    "account": self._entry.title,
                    **{
                        name: plain_text(value, LONGEST_LINE)
                        for name, value in issue.placeholders.items()
                    },
                },
            )
            if issue_id in self._ignored:
                ir.async_ignore_issue(self.hass, DOMAIN, issue_id, ignore=True)
        self._shown = active

    @callback
    def _clear(self) -> None:
        """Take all cards back, and remember which of them a person ignored."""
        registry = ir.async_get(self.hass)
        for issue_id in self._shown:
            card = registry.async_get_issue(DOMAIN, issue_id)
            if card is not None and card.dismissed_version is not None:
                self._ignored.add(issue_id)
            ir.async_delete_issue(self.hass, DOMAIN, issue_id)
        self._shown = {}

    def _issue_id(self, issue: Issue) -> str:
        return "-".join(filter(None, (issue.key, self._entry.entry_id, issue.about)))

    def _active(self) -> Iterator[Issue]:
        for rule in (
            self._certificate,
            self._cloud,
            self._folders,
            self._collectors,
            self._things,
            self._sites,
            self._units,
            self._firmware,
            self._bluetooth,
            self._outbox,
            self._devices,
            self._metrics,
            self._newcomers,
            self._applications,
        ):
            yield from rule()

    def _certificate(self) -> Iterator[Issue]:
        ulogger = self._gateway.ulogger
        if ulogger is None:
            return
        expiry = ulogger.certificate_expiry
        expired = expiry is not None and expiry <= dt_util.utcnow()
        if self._refused_for_long() and not expired and not self._asked_for_certificate:
            yield Issue("certificate_refused", fixable=True, severity=ir.IssueSeverity.ERROR)
        if expiry is None or (expired and self._asked_for_certificate):
            return
        placeholders = {"date": dt_util.as_local(expiry).date().isoformat()}
        if expired:
            yield Issue(
                "certificate_expired",
                fixable=True,
                severity=ir.IssueSeverity.ERROR,
                placeholders=placeholders,
            )
        elif expiry - dt_util.utcnow() <= CERTIFICATE_NOTICE:
            yield Issue("certificate_expires", fixable=True, placeholders=placeholders)

    def _refused_for_long(self) -> bool:
        """Whether the broker refuses the certificate; at first Home Assistant says so itself."""
        ulogger = self._gateway.ulogger
        if ulogger is None or ulogger.cloud.state is not ConnectionState.CREDENTIALS_REFUSED:
            self._refused_since = None
            return False
        if self._refused_since is None:
            self._refused_since = time.time()
        return time.time() - self._refused_since >= REFUSED_PATIENCE

    @property
    def _asked_for_certificate(self) -> bool:
        """Whether Home Assistant shows a card of its own, as long as nobody closes the form."""
        issue_id = f"config_entry_reauth_{DOMAIN}_{self._entry.entry_id}"
        return ir.async_get(self.hass).async_get_issue(HOMEASSISTANT_DOMAIN, issue_id) is not None

    def _cloud(self) -> Iterator[Issue]:
        ulogger = self._gateway.ulogger
        if ulogger is None:
            return
        if ulogger.cloud.state is ConnectionState.CLIENT_ID_CONFLICT:
            yield Issue("client_id_conflict")
        for topic in ulogger.transport.denied_topics:
            placeholders = {"topic": topic}
            if ulogger.cloud.topics.registers(topic):
                yield Issue("registration_denied", topic, fixable=True, placeholders=placeholders)
            else:
                yield Issue("topic_denied", topic, fixable=True, placeholders=placeholders)
        since = self._gateway.destinations[ULOGGER].disconnected_since
        if since is not None and time.time() - since >= CLOUD_PATIENCE:
            yield Issue("cloud_unreachable")

    def _folders(self) -> Iterator[Issue]:
        for each in self._gateway.destinations.values():
            folder = each.destination
            if isinstance(folder, FolderDestination) and folder.failure is not None:
                placeholders = {
                    "destination": each.title,
                    "path": str(folder.directory),
                    "count": str(each.counters.waiting),
                }
                match folder.failure.reason:
                    case Reason.FOLDER_MISSING:
                        yield Issue("folder_missing", each.id, placeholders=placeholders)
                    case Reason.FOLDER_FULL:
                        yield Issue("folder_full", each.id, placeholders=placeholders)
                    case Reason.FOLDER_UNWRITABLE:
                        yield Issue("folder_unwritable", each.id, placeholders=placeholders)
                    case _:
                        yield Issue("folder_failed", each.id, placeholders=placeholders)

    def _collectors(self) -> Iterator[Issue]:
        for each in self._gateway.destinations.values():
            if isinstance(collector := each.destination, OtlpDestination):
                since = each.disconnected_since
                patience_over = since is not None and time.time() - since >= CLOUD_PATIENCE
                yield from collector_issues(each, collector, patience_over=patience_over)

    def _things(self) -> Iterator[Issue]:
        for subentry in self._entry.get_subentries_of_type(SUBENTRY_CLESYDE):
            each = self._gateway.destinations.get(subentry.subentry_id)
            if each is not None:
                yield from thing_issues(each)

    def _sites(self) -> Iterator[Issue]:
        for each in self._gateway.destinations.values():
            if isinstance(each, ActiveUdmi):
                yield from site_issues(each)

    def _firmware(self) -> Iterator[Issue]:
        folder = self._gateway.firmware_folder
        if folder.missing:
            yield Issue("firmware_folder_missing", placeholders={"path": folder.path})
        for name, refused in folder.refused.items():
            path = f"{folder.path}/{name}"
            said = own_sentence(self.hass, refused.reason, file=name, path=name)
            yield Issue("firmware_refused", name, placeholders={"file": path, "detail": said})
        for subentry_id in self._gateway.images.lost:
            if (subentry := self._entry.subentries.get(subentry_id)) is not None:
                yield Issue("firmware_lost", subentry_id, placeholders={"firmware": subentry.title})

    def _units(self) -> Iterator[Issue]:
        destinations = self._gateway.destinations
        for subentry in units(self._entry):
            if subentry.subentry_id not in destinations:
                yield Issue(
                    "pepeunit_files_gone",
                    subentry.subentry_id,
                    severity=ir.IssueSeverity.ERROR,
                    placeholders={"destination": subentry.title},
                )
        for each in destinations.values():
            if isinstance(each, ActivePepeunit):
                for issue in unit_issues(each):
                    placeholders = {"destination": each.title, **issue.placeholders}
                    yield replace(issue, placeholders=placeholders)

    def _bluetooth(self) -> Iterator[Issue]:
        if not bluetooth.async_scanner_count(self.hass, connectable=True):
            yield Issue("no_adapter")

    def _outbox(self) -> Iterator[Issue]:
        gateway = self._gateway
        if not gateway.account.disk_space.enough:
            yield Issue("no_room", severity=ir.IssueSeverity.ERROR)
        if count := gateway.account.totals.quarantined:
            yield Issue("quarantine", fixable=True, placeholders={"count": str(count)}, count=count)
        if (recovered := gateway.account.outbox.recovered) is not None:
            yield Issue(
                "outbox_recovered",
                fixable=True,
                severity=ir.IssueSeverity.ERROR,
                placeholders={
                    "file": recovered.set_aside.name,
                    "brought_over": str(recovered.brought_over),
                    "quarantined": str(recovered.quarantined),
                    "lost": "?" if recovered.lost is None else str(recovered.lost),
                },
            )

    def _devices(self) -> Iterator[Issue]:
        now = time.time()
        for device in self._gateway.devices.values():
            identity = device.identity
            about = f"{identity.application_id}-{identity.serial}"
            placeholders = {"device": device.called}
            since = device.unreachable_since
            seen = now - device.record.last_seen < DEVICE_PATIENCE
            failing = since is not None and now - since >= DEVICE_PATIENCE
            if failing and seen and not device.excluded:
                yield Issue("device_unreachable", about, placeholders=placeholders)
            if self._gateway.account.settings.daily_quota and device.quota_days >= QUOTA_DAYS:
                yield Issue("quota_reached", about, placeholders=placeholders)

    def _metrics(self) -> Iterator[Issue]:
        limit = self._gateway.account.settings.metric_limit
        for device in self._gateway.devices.values():
            if names := device.heard.left_out(limit):
                identity = device.identity
                placeholders = {
                    "device": device.called,
                    "limit": str(limit),
                    "names": ", ".join(names),
                }
                about = f"{identity.application_id}-{identity.serial}"
                yield Issue("metric_limit", about, placeholders=placeholders)

    def _newcomers(self) -> Iterator[Issue]:
        fleet = self._gateway.fleet
        if fleet.full and (waiting := fleet.waiting()):
            placeholders = {
                "limit": str(self._gateway.account.settings.device_limit),
                "count": str(len(waiting)),
            }
            yield Issue("device_limit", fixable=True, placeholders=placeholders)
        for address in fleet.newcomers.suspicious():
            yield Issue(
                "new_devices_at_address",
                address,
                fixable=True,
                placeholders={
                    "address": address,
                    "device": self._name_at(address),
                    "most": str(MOST_AT_ADDRESS),
                },
            )

    def _applications(self) -> Iterator[Issue]:
        for application, owner in approval.claimed_elsewhere(self.hass, self._entry).items():
            placeholders = {"application": str(application), "other": owner.title}
            yield Issue(
                "application_conflict", str(application), fixable=True, placeholders=placeholders
            )

    def _name_at(self, address: str) -> str:
        """Name who is at an address the way a person named it, or as it names itself."""
        fleet = self._gateway.fleet
        records = [record for record in fleet.store.devices.values() if record.address == address]
        for record in records:
            entry = registered_device(self.hass, self._entry.entry_id, record.identity)
            if entry is not None:
                return plain_text(entry.name_by_user or entry.name or record.name)
        return next((plain_text(record.name) for record in records), address)


@singleton(f"{DOMAIN}.ignored_issues")
def _ignored(hass: HomeAssistant) -> dict[str, set[str]]:
    """Return what was ignored, by account; there is one for all of Home Assistant."""
    return {}
