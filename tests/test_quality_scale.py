"""What hassfest would check of the package, and what the quality scale claims."""

import ast
import functools
import inspect
import json
import re
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from homeassistant.components.brands.const import ALLOWED_IMAGES
from homeassistant.core import HomeAssistant
from homeassistant.helpers import selector
from homeassistant.setup import async_setup_component
from homeassistant.util.yaml import load_yaml_dict
from PIL import Image

import custom_components.ulogger as integration
from custom_components.ulogger import PLATFORMS, repairs, sensor
from custom_components.ulogger.actions.by_hand import REGISTER_SCHEMA, UPLOAD_FILE_SCHEMA
from custom_components.ulogger.actions.captures import GET_CAPTURES_SCHEMA
from custom_components.ulogger.actions.crashes import GET_CRASHES_SCHEMA, SET_CRASH_STATE_SCHEMA
from custom_components.ulogger.actions.devices import FORGET_SCHEMA, LOG_LEVEL_SCHEMA, UPLOAD_SCHEMA
from custom_components.ulogger.actions.firmware import ADD_FIRMWARE_SCHEMA
from custom_components.ulogger.actions.logs import GET_LOGS_SCHEMA
from custom_components.ulogger.actions.pepeunit import ACTIONS as PEPEUNIT_ACTIONS
from custom_components.ulogger.actions.publish import (
    EVENT_SCHEMA,
    EVENTS_SCHEMA,
    LOG_SCHEMA,
    METRICS_SCHEMA,
)
from custom_components.ulogger.capture.errors import InvalidImage
from custom_components.ulogger.cloud.pepeunit.errors import RestFailure
from custom_components.ulogger.condition import CONDITIONS
from custom_components.ulogger.config_flow import UloggerConfigFlow
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.gateway.gateway import UloggerConfigEntry
from custom_components.ulogger.model.reason import Reason
from custom_components.ulogger.trigger import TRIGGERS

PACKAGE = Path(integration.__file__).parent
MANIFEST = json.loads((PACKAGE / "manifest.json").read_text())
ICONS = json.loads((PACKAGE / "icons.json").read_text())
TEXTS = json.loads((PACKAGE / "translations" / "en.json").read_text())
ACTIONS = load_yaml_dict(str(PACKAGE / "services.yaml"))
SCALE = load_yaml_dict(str(PACKAGE / "quality_scale.yaml"))["rules"]
README = (PACKAGE.parents[1] / "README.md").read_text()

RULES = [
    *("action-setup", "appropriate-polling", "brands", "common-modules", "config-flow"),
    *("config-flow-test-coverage", "dependency-transparency", "docs-actions", "docs-conditions"),
    *("docs-high-level-description", "docs-installation-instructions"),
    *("docs-removal-instructions", "docs-triggers", "entity-event-setup", "entity-unique-id"),
    *("has-entity-name", "runtime-data", "test-before-configure", "test-before-setup"),
    *("unique-config-entry", "action-exceptions", "config-entry-unloading"),
    *("docs-configuration-parameters", "docs-installation-parameters", "entity-unavailable"),
    *("integration-owner", "log-when-unavailable", "parallel-updates", "reauthentication-flow"),
    *("test-coverage", "devices", "diagnostics", "discovery", "discovery-update-info"),
    *("docs-data-update", "docs-examples", "docs-known-limitations", "docs-supported-devices"),
    *("docs-supported-functions", "docs-troubleshooting", "docs-use-cases", "dynamic-devices"),
    *("entity-category", "entity-device-class", "entity-disabled-by-default"),
    *("entity-translations", "exception-translations", "icon-translations"),
    *("reconfiguration-flow", "repair-issues", "stale-devices"),
    *("async-dependency", "inject-websession", "strict-typing"),
]

SCHEMAS = {
    "add_firmware": ADD_FIRMWARE_SCHEMA,
    "forget_session": FORGET_SCHEMA,
    "get_captures": GET_CAPTURES_SCHEMA,
    "get_logs": GET_LOGS_SCHEMA,
    "get_crashes": GET_CRASHES_SCHEMA,
    "publish_event": EVENT_SCHEMA,
    "publish_events": EVENTS_SCHEMA,
    "publish_log": LOG_SCHEMA,
    "publish_metrics": METRICS_SCHEMA,
    "register": REGISTER_SCHEMA,
    "set_crash_state": SET_CRASH_STATE_SCHEMA,
    "set_log_level": LOG_LEVEL_SCHEMA,
    "upload": UPLOAD_SCHEMA,
    "upload_file": UPLOAD_FILE_SCHEMA,
    **{name: schema for name, (_, schema) in PEPEUNIT_ACTIONS.items()},
}
TARGET = {"entity_id", "device_id", "area_id", "floor_id", "label_id", "exclude"}


@functools.cache
def sources() -> dict[Path, ast.Module]:
    """Parse every module of the integration."""
    return {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


# The quality scale


def test_the_quality_scale_has_every_rule_and_no_other() -> None:
    assert len(RULES) == 54
    assert list(SCALE) == RULES


def test_every_rule_is_met_or_says_why_it_does_not_apply() -> None:
    for rule, status in SCALE.items():
        if status == "done":
            continue
        assert status.keys() == {"status", "comment"}, rule
        assert status["status"] == "exempt", rule
        assert len(status["comment"].split()) > 10, rule


@pytest.mark.parametrize(
    "subject",
    [
        *("What it is for", "Supported devices", "Install", "Set up", "Options", "What you get"),
        *("Automations", "Triggers", "Condition", "Actions", "How data flows"),
        *("When something is wrong", "Known limitations", "Remove"),
    ],
)
def test_the_readme_says_what_the_rules_on_documentation_ask_for(subject: str) -> None:
    assert re.search(rf"^(## |\*\*){subject}(\*\*|$)", README, re.MULTILINE)


@pytest.mark.parametrize(
    "names", [ACTIONS, TRIGGERS, CONDITIONS], ids=["actions", "triggers", "conditions"]
)
def test_the_readme_names_every_action_trigger_and_condition(names: Any) -> None:
    for name in names:
        assert f"ulogger.{name}" in README


# The manifest


def test_the_manifest_is_in_order() -> None:
    keys = list(MANIFEST)
    assert keys[:2] == ["domain", "name"]
    assert keys[2:] == sorted(keys[2:])
    assert MANIFEST["domain"] == DOMAIN == PACKAGE.name


def test_the_manifest_says_what_a_custom_integration_must_say() -> None:
    required = "version codeowners documentation issue_tracker integration_type iot_class"
    assert set(required.split()) < MANIFEST.keys()
    assert all(owner.startswith("@") for owner in MANIFEST["codeowners"])
    assert MANIFEST["documentation"].startswith("https://")
    # What core pins too must be a range: the account could not be loaded on the day core moves.
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+,<\d+", each) for each in MANIFEST["requirements"])
    assert not {"homekit", "quality_scale_file"} & MANIFEST.keys()


def test_matchers_begin_with_something_definite() -> None:
    for matcher in MANIFEST["bluetooth"]:
        assert "*" not in matcher.get("local_name", "")[:3]
        assert matcher.get("service_uuid", "") == matcher.get("service_uuid", "").lower()


# Code


def test_every_platform_says_how_many_updates_run_at_once() -> None:
    for platform in PLATFORMS:
        names = [
            target.id
            for node in sources()[PACKAGE / f"{platform}.py"].body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        assert "PARALLEL_UPDATES" in names, platform


@pytest.mark.parametrize(
    "old",
    [
        r"from __future__ import annotations",
        r"import voluptuous",
        r"\bhass\.data\b",
        r"\bvia_device=",
        r"async_forward_entry_setup\(",
        r"\bdatetime\.utcnow\(",
        r"except Exception",
        r"\bTODO\b",
        r"add_update_listener",
        r"\bpytz\b",
    ],
)
def test_nothing_old_or_too_broad_is_used(old: str) -> None:
    for path in sources():
        assert not re.search(old, path.read_text()), path


def test_every_hook_and_flow_knows_what_an_account_carries() -> None:
    hooks = [hook for name, hook in vars(integration).items() if name.endswith("_entry")]
    hooks += [
        integration.async_remove_config_entry_device,
        UloggerConfigFlow.async_get_options_flow,
    ]
    for name in (*PLATFORMS, "diagnostics"):
        module = import_module(f"{integration.__name__}.{name}")
        hooks += [
            getattr(module, hook)
            for hook in (
                "async_setup_entry",
                "async_get_config_entry_diagnostics",
                "async_get_device_diagnostics",
            )
            if hasattr(module, hook)
        ]
    assert len(hooks) == 6 + len(PLATFORMS) + 2
    for hook in hooks:
        assert set(get_type_hints(hook).values()) & {UloggerConfigEntry}, hook.__name__


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ("discovery", ["async_step_bluetooth"]),
        ("reauthentication-flow", ["async_step_reauth"]),
        ("reconfiguration-flow", ["async_step_reconfigure"]),
    ],
)
def test_the_flow_has_the_steps_that_a_rule_asks_for_where_hassfest_looks(
    rule: str, steps: list[str]
) -> None:
    assert SCALE[rule] == "done"
    assert vars(UloggerConfigFlow).keys() >= set(steps)
    # A flow that can be discovered must set a unique ID, in this very file.
    assert "self.async_set_unique_id" in (PACKAGE / "config_flow.py").read_text()


# Actions


async def test_every_action_is_registered_described_and_has_an_icon(hass: HomeAssistant) -> None:
    assert await async_setup_component(hass, DOMAIN, {})
    registered = hass.services.async_services_for_domain(DOMAIN).keys()
    assert registered == ACTIONS.keys() == TEXTS["services"].keys() == ICONS["services"].keys()
    assert registered == SCHEMAS.keys()


@pytest.mark.parametrize("action", SCHEMAS)
def test_the_fields_of_an_action_are_those_of_its_schema(action: str) -> None:
    fields = ACTIONS[action].get("fields", {})
    schema = {str(key): key for key in SCHEMAS[action].schema if str(key) not in TARGET}
    assert fields.keys() == schema.keys() == TEXTS["services"][action].get("fields", {}).keys()
    for name, field in fields.items():
        assert selector.validate_selector(field["selector"]), name
        assert field.get("required", False) is (type(schema[name]).__name__ == "Required"), name
        assert {"example", "default"} & field.keys(), name
        texts = TEXTS["services"][action]["fields"][name]
        assert texts["name"]
        assert texts["description"].endswith(".")


@pytest.mark.parametrize("action", SCHEMAS)
def test_an_action_is_aimed_at_devices_or_an_account_of_this_integration(action: str) -> None:
    if "target" not in ACTIONS[action]:
        account = ACTIONS[action]["fields"]["config_entry_id"]
        assert account["selector"] == {"config_entry": {"integration": DOMAIN}}
        return
    selector.TargetSelector.CONFIG_SCHEMA(ACTIONS[action]["target"])
    assert ACTIONS[action]["target"]["device"] == [{"integration": DOMAIN}]


def test_every_selector_that_is_translated_has_texts() -> None:
    used = set(re.findall(r"translation_key: (\w+)", (PACKAGE / "services.yaml").read_text()))
    for tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "NumberSelectorConfig",
                "ObjectSelectorConfig",
                "SelectSelectorConfig",
            }:
                used |= {
                    ast.literal_eval(keyword.value)
                    for keyword in node.keywords
                    if keyword.arg == "translation_key"
                }
    assert used == TEXTS["selector"].keys()


# Triggers and conditions


@pytest.mark.parametrize(
    ("kind", "offered"), [("trigger", TRIGGERS.keys()), ("condition", CONDITIONS.keys())]
)
def test_every_trigger_and_condition_is_described_and_has_an_icon(kind: str, offered: Any) -> None:
    described = load_yaml_dict(str(PACKAGE / f"{kind}s.yaml"))
    named = {name: each for name, each in described.items() if not name.startswith(".")}
    assert offered == named.keys() == TEXTS[f"{kind}s"].keys() == ICONS[f"{kind}s"].keys()
    for name, each in named.items():
        selector.TargetSelector.CONFIG_SCHEMA(each["target"])
        fields = each.get("fields", {})
        assert fields.keys() == TEXTS[f"{kind}s"][name].get("fields", {}).keys()
        for field in fields.values():
            assert selector.validate_selector(field["selector"])
        assert re.fullmatch(r"mdi:[a-z0-9-]+", ICONS[f"{kind}s"][name][kind])


# Errors


def test_every_error_has_a_text_and_every_text_an_error() -> None:
    used = set(Reason) | refusals_of_images() | failures_of_pepeunit()
    for path, tree in sources().items():
        if path.name in {"issues.py", "removal.py"}:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            kind = ast.unparse(node.func)
            keys = [keyword.value for keyword in node.keywords if keyword.arg == "translation_key"]
            if kind in {"_error", "_mistake", "mistake"}:
                keys = node.args[:1]
            elif kind == "send_not_found":
                keys = node.args[2:]
            elif not kind.endswith(("Error", "NotReady", "AuthFailed")):
                continue
            used |= {key.value for key in keys if isinstance(key, ast.Constant)}
    assert used == TEXTS["exceptions"].keys()


def refusals_of_images() -> set[str]:
    """Return why the action or the panel refuses a firmware image."""
    found = {each.reason for each in (InvalidImage, *InvalidImage.__subclasses__())}
    for path in (
        "account/firmware_images.py",
        "gateway/images.py",
        "gateway/firmware_folder.py",
        "panel/images.py",
    ):
        for node in ast.walk(sources()[PACKAGE / path]):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "FirmwareRefused",
                "_refusals",
            }:
                found |= {key.value for key in node.args[:1] if isinstance(key, ast.Constant)}
    return found


def failures_of_pepeunit() -> set[str]:
    """Return why an action of a Pepeunit unit fails."""
    found = {"pepeunit_file", *RestFailure}
    for path in (
        "cloud/pepeunit/archive.py",
        "cloud/pepeunit/cipher.py",
        "gateway/unit_updates.py",
    ):
        for node in ast.walk(sources()[PACKAGE / path]):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "ArchiveRefused",
                "CipherError",
            }:
                found |= {key.value for key in node.args[:1] if isinstance(key, ast.Constant)}
    return found


def test_the_panel_tells_errors_only_with_the_name_of_their_text() -> None:
    """What ``send_error`` says by itself is English; ``panel/refusals.py`` names a text besides."""
    senders = {
        path.name
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".send_error")
    }
    assert senders == {"refusals.py"}


def test_every_error_that_is_raised_to_a_person_can_be_translated() -> None:
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "HomeAssistantError",
                "ServiceValidationError",
                "ConfigEntryNotReady",
                "ConfigEntryAuthFailed",
            }:
                given = {keyword.arg for keyword in node.keywords}
                assert {"translation_domain", "translation_key"} <= given, (path, node.lineno)


def test_the_sensor_of_the_last_error_can_tell_every_reason() -> None:
    states = TEXTS["entity"]["sensor"]["last_error"]["state"].keys()
    assert states == {sensor.NO_ERROR, *Reason}


# Repairs


def test_every_issue_has_texts_and_every_text_an_issue() -> None:
    names = ("issues", "thing_issues", "udmi_issues", "unit_issues")
    rules = [(PACKAGE / f"gateway/{name}.py").read_text() for name in names]
    code = inspect.getsource(repairs) + "".join(rules)
    raised = set(re.findall(r"Issue\(\s*\"(\w+)\"", "".join(rules)))
    raised.add("left_behind")
    assert raised == TEXTS["issues"].keys()
    fixable = {key for key, texts in TEXTS["issues"].items() if "fix_flow" in texts}
    assert fixable == repairs.FLOWS.keys()
    for key in fixable:
        assert f'"{key}"' in code


# Icons


def test_every_entity_has_an_icon_and_every_icon_an_entity() -> None:
    for platform, entities in TEXTS["entity"].items():
        assert ICONS["entity"][platform].keys() == entities.keys(), platform
    assert ICONS["entity"].keys() == TEXTS["entity"].keys()


def test_icons_of_states_are_for_states_that_there_are() -> None:
    for platform, entities in ICONS["entity"].items():
        for key, icons in entities.items():
            assert icons["default"] not in icons.get("state", {}).values()
            texts = TEXTS["entity"][platform][key]
            for state in icons.get("state", {}):
                known = texts.get("state", {"on": "", "off": ""})
                assert state in known or state.isdecimal(), (platform, key, state)
            for attribute, of_attribute in icons.get("state_attributes", {}).items():
                states = texts["state_attributes"][attribute]["state"].keys()
                assert of_attribute["state"].keys() == states


def test_every_icon_is_a_material_design_icon() -> None:
    def icons(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        return list(chain.from_iterable(map(icons, value.values())))

    assert all(re.fullmatch(r"mdi:[a-z0-9-]+", icon) for icon in icons(ICONS))


# Brand


def test_brand_images_have_the_names_and_sizes_that_home_assistant_asks_for() -> None:
    sizes = {}
    for path in (PACKAGE / "brand").iterdir():
        assert path.name in ALLOWED_IMAGES
        with Image.open(path) as image:
            assert image.format == "PNG"
            sizes[path.name] = image.size
    assert sizes["icon.png"] == (256, 256)
    assert sizes["icon@2x.png"] == (512, 512)
    for logo in ("logo.png", "dark_logo.png"):
        assert 128 <= min(sizes[logo]) <= 256
        large = sizes[logo.replace(".", "@2x.")]
        assert 256 <= min(large) <= 512
        assert abs(large[0] - 2 * sizes[logo][0]) <= 2


async def test_home_assistant_serves_the_brand_images(
    hass: HomeAssistant, hass_client: Any
) -> None:
    assert await async_setup_component(hass, "brands", {})
    client = await hass_client()
    for path in (PACKAGE / "brand").iterdir():
        response = await client.get(f"/api/brands/integration/{DOMAIN}/{path.name}")
        assert response.status == 200
        assert await response.read() == path.read_bytes()
