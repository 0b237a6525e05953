"""Registering a device by hand, and uploading what is in a file."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError, Unauthorized
from probatio import Invalid
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockUser

from custom_components.ulogger.capture.log_buffer import with_session_token
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from tests.support.account import CRASH_DUMP, CRASH_LOG, SENSOR, TOKEN, ToldTransport, load, meet

from .test_devices import gateway_of, mistake, registered

OTHER = DeviceIdentity(42, "OTHER", "DoorSenseV2", "1.0", "abc")
NOBODY = {"application_id": 7, "serial": "S-7", "device_type": "lamp", "git_version": "1"}


async def call(hass: HomeAssistant, action: str, target: str | list[str], **data: Any) -> Any:
    return await hass.services.async_call(
        DOMAIN, action, {"device_id": target, **data}, blocking=True, return_response=True
    )


@pytest.fixture
def allowed(hass: HomeAssistant, tmp_path: Path) -> Path:
    """A directory that Home Assistant may read."""
    directory = tmp_path / "media"
    directory.mkdir()
    hass.config.allowlist_external_dirs = {str(directory)}
    return directory


@pytest.fixture
def log_file(allowed: Path) -> Path:
    """A log that was written at a known time."""
    file = allowed / "log.bin"
    file.write_bytes(CRASH_LOG)
    os.utime(file, (1_790_000_000, 1_790_000_000))
    return file


# Register


async def test_a_device_is_registered_now_and_its_token_stays_here(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport
) -> None:
    gateway: Gateway = device.account.entry.runtime_data
    assert not gateway.is_registered(SENSOR)
    answer = await call(hass, "register", registered(hass, device).id)
    assert answer == {"devices": {SENSOR.serial: {"registered": True, "error": None}}}
    assert str(TOKEN) not in str(answer)
    assert gateway.is_registered(SENSOR)
    assert [topic for topic, _ in transport.published] == ["boot/v0/42/0/42"]
    await call(hass, "register", registered(hass, device).id)
    assert len(transport.published) == 1


async def test_a_device_that_was_never_here_is_registered_by_its_identification(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    answer = await call(hass, "register", gateway_of(hass, account).id, **NOBODY)
    assert answer["devices"] == {"S-7": {"registered": True, "error": None}}
    [(topic, payload)] = transport.published
    assert topic == "boot/v0/42/0/7"
    assert b'"device_type": "lamp"' in payload
    assert account.runtime_data.is_registered(DeviceIdentity(7, "S-7", "lamp", "1"))


async def test_of_several_devices_each_has_its_result_and_all_must_fail(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    transport: ToldTransport,
) -> None:
    meet(account, OTHER, "C0:FF:EE:00:00:09")
    await account.runtime_data.ulogger.cloud.register(SENSOR)
    transport.refusal = CloudUnavailable("told so")
    answer = await call(hass, "register", gateway_of(hass, account).id)
    assert answer["devices"] == {
        SENSOR.serial: {"registered": True, "error": None},
        "OTHER": {"registered": False, "error": "cloud_unreachable"},
    }
    with pytest.raises(HomeAssistantError) as error:
        await call(hass, "register", gateway_of(hass, account).id, **NOBODY)
    assert mistake(error) == "cloud_unreachable"


async def test_whatever_is_said_of_a_device_counts_for_its_registration(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator
) -> None:
    gateway: Gateway = account.runtime_data
    await call(hass, "register", registered(hass, device).id, git_hash="another")
    assert gateway.is_registered(replace(SENSOR, git_hash="another"))
    assert not gateway.is_registered(SENSOR)
    # An application alone names no device of the account.
    with pytest.raises(ServiceValidationError) as error:
        await call(hass, "register", gateway_of(hass, account).id, application_id=7)
    assert mistake(error) == "no_identity"


async def test_nobody_is_registered_where_there_is_no_cloud(hass: HomeAssistant) -> None:
    account = await load(hass, connection="none")
    device = meet(account)
    with pytest.raises(ServiceValidationError) as error:
        await call(hass, "register", registered(hass, device).id)
    assert mistake(error) == "no_cloud"


# Upload a file


async def test_a_log_out_of_a_file_goes_up_for_the_device_that_is_the_target(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport, log_file: Path
) -> None:
    answer = await call(hass, "upload_file", registered(hass, device).id, path=str(log_file))
    assert answer["delivered"] == {"uLogger": True}
    assert (answer["kind"], answer["serial"]) == ("log", SENSOR.serial)
    assert (answer["outcome"], answer["new"]) == ("stored", True)
    capture = await device.account.outbox.read(answer["id"])
    assert (capture.kind, capture.device, capture.data) == (CaptureKind.LOG, SENSOR, CRASH_LOG)
    assert capture.captured_at == 1_790_000_000
    topic, payload = transport.published[-1]
    assert topic == "binlog/v0/42/0/42"
    assert payload == with_session_token(CRASH_LOG, TOKEN)


async def test_the_same_log_again_is_known_and_not_kept_twice(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport, log_file: Path
) -> None:
    target = registered(hass, device).id
    first = await call(hass, "upload_file", target, path=str(log_file))
    again = await call(hass, "upload_file", target, path=str(log_file))
    assert (again["outcome"], again["new"], again["id"]) == ("duplicate", False, first["id"])
    assert [topic for topic, _ in transport.published].count("binlog/v0/42/0/42") == 1


async def test_a_core_dump_names_its_device_itself(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, allowed: Path
) -> None:
    (allowed / "dump.bin").write_bytes(CRASH_DUMP)
    answer = await call(
        hass,
        "upload_file",
        gateway_of(hass, account).id,
        path=str(allowed / "dump.bin"),
        timestamp=1_790_000_100,
    )
    assert (answer["kind"], answer["serial"]) == ("core_dump", SENSOR.serial)
    capture = await account.runtime_data.account.outbox.read(answer["id"])
    assert capture.device.key == SENSOR.key
    assert capture.captured_at == 1_790_000_100
    assert transport.published[-1] == ("core-dump/v0/42/0", CRASH_DUMP)


async def test_a_log_of_a_device_that_was_never_here_needs_its_identification(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport, log_file: Path
) -> None:
    gateway = gateway_of(hass, account).id
    for said in ({}, {"serial": "S-7"}, {"application_id": 7}):
        with pytest.raises(ServiceValidationError) as error:
            await call(hass, "upload_file", gateway, path=str(log_file), **said)
        assert mistake(error) == "no_identity"
    answer = await call(hass, "upload_file", gateway, path=str(log_file), **NOBODY)
    assert answer["delivered"] == {"uLogger": True}
    assert transport.published[-1][0] == "binlog/v0/42/0/7"


async def test_without_a_connection_it_is_kept_and_waits(
    hass: HomeAssistant, device: DeviceCoordinator, transport: ToldTransport, log_file: Path
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    target = registered(hass, device).id
    answer = await call(hass, "upload_file", target, path=str(log_file), timeout=0)
    assert answer["delivered"] == {"uLogger": False}
    await device.account.async_refresh_counters()
    assert device.account.totals.waiting == 1


async def test_an_account_without_a_cloud_keeps_it_here(
    hass: HomeAssistant, log_file: Path
) -> None:
    account = await load(hass, connection="none")
    device = meet(account)
    answer = await call(hass, "upload_file", registered(hass, device).id, path=str(log_file))
    assert answer["delivered"] == {}
    assert (await device.account.outbox.read(answer["id"])).data == CRASH_LOG


async def test_only_files_that_home_assistant_may_read_are_read(
    hass: HomeAssistant, device: DeviceCoordinator, allowed: Path, log_file: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(CRASH_LOG)
    (allowed / "link.bin").symlink_to(secret)
    (allowed / "large.bin").write_bytes(bytes(1024 * 1024 + 1))
    os.mkfifo(allowed / "pipe.bin")
    target = registered(hass, device).id
    for path, key in (
        (secret, "path_not_allowed"),
        (allowed / "link.bin", "path_not_allowed"),
        (allowed / ".." / "secret.bin", "path_not_allowed"),
        (allowed / "nothing.bin", "file_unreadable"),
        (allowed, "file_unreadable"),
        (allowed / "pipe.bin", "file_unreadable"),
        ("nul\0.bin", "file_unreadable"),
        (allowed / "large.bin", "file_too_large"),
    ):
        with pytest.raises(ServiceValidationError) as error:
            await call(hass, "upload_file", target, path=str(path))
        assert mistake(error) == key, path
    assert await device.account.outbox.listing() == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", None),
        (b"no capture", None),
        (CRASH_LOG[:-1], None),
        (CRASH_DUMP[:-1], None),
        (CRASH_DUMP[:-1] + b"?", None),
        (CRASH_LOG, "core_dump"),
        (CRASH_DUMP, "log"),
    ],
    ids=["empty", "text", "short log", "short dump", "spoilt dump", "log", "dump"],
)
async def test_what_is_no_whole_capture_is_refused(
    hass: HomeAssistant, device: DeviceCoordinator, allowed: Path, content: bytes, kind: str | None
) -> None:
    (allowed / "file.bin").write_bytes(content)
    said = {} if kind is None else {"kind": kind}
    target = registered(hass, device).id
    with pytest.raises(ServiceValidationError) as error:
        await call(hass, "upload_file", target, path=str(allowed / "file.bin"), **said)
    assert mistake(error) == "not_a_capture"
    assert await device.account.outbox.listing() == []


async def test_a_dump_of_an_unknown_version_is_one_when_it_is_said_to_be(
    hass: HomeAssistant, device: DeviceCoordinator, allowed: Path
) -> None:
    dump = CRASH_DUMP[:8] + (9).to_bytes(4, "little") + CRASH_DUMP[12:]
    (allowed / "dump.bin").write_bytes(dump)
    target, path = registered(hass, device).id, str(allowed / "dump.bin")
    with pytest.raises(ServiceValidationError):
        await call(hass, "upload_file", target, path=path)
    answer = await call(hass, "upload_file", target, path=path, kind="core_dump")
    assert answer["kind"] == "core_dump"


async def test_it_is_for_one_device_with_a_serial_that_can_be_one(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, log_file: Path
) -> None:
    other = meet(account, OTHER, "C0:FF:EE:00:00:09")
    both = [registered(hass, each).id for each in (device, other)]
    with pytest.raises(ServiceValidationError) as error:
        await call(hass, "upload_file", both, path=str(log_file))
    assert mistake(error) == "one_target"
    with pytest.raises(HomeAssistantError) as refused:
        await call(hass, "upload_file", both[0], path=str(log_file), serial="a/b")
    assert mistake(refused) == "invalid_serial"
    with pytest.raises(Invalid):
        await call(hass, "upload_file", both[0], path=str(log_file), application_id=2**32)


async def test_it_is_for_administrators(
    hass: HomeAssistant,
    device: DeviceCoordinator,
    log_file: Path,
    hass_read_only_user: MockUser,
) -> None:
    with pytest.raises(Unauthorized):
        await hass.services.async_call(
            DOMAIN,
            "upload_file",
            {"device_id": registered(hass, device).id, "path": str(log_file)},
            blocking=True,
            context=Context(user_id=hass_read_only_user.id),
        )
    assert await device.account.outbox.listing() == []
