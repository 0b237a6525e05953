"""What Home Assistant's own validator, hassfest, and HACS ask of a custom integration."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homeassistant
import probatio
import pytest
from awesomeversion import AwesomeVersion, AwesomeVersionStrategy
from homeassistant.const import Platform, __version__
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import selector
from homeassistant.loader import BluetoothMatcher
from homeassistant.util.yaml import load_yaml_dict
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import custom_components.ulogger
from custom_components.ulogger.const import DOMAIN

PACKAGE = Path(custom_components.ulogger.__file__).parent
CORE = Path(homeassistant.__file__).parent
MANIFEST = json.loads((PACKAGE / "manifest.json").read_text())
TEXTS = json.loads((PACKAGE / "translations" / "en.json").read_text())
ICONS = json.loads((PACKAGE / "icons.json").read_text())
HACS = json.loads((PACKAGE.parents[1] / "hacs.json").read_text())
NEWEST = Path(__file__).parent / "fixtures/home_assistant/constraints.txt"
"""What the newest release pins: ``script/home_assistant.py newest --keep-constraints``."""

CORE_INTEGRATIONS = {path.parent.name for path in CORE.glob("components/*/manifest.json")}
ALWAYS_THERE = {
    *(platform.value for platform in Platform),
    *("automation", "device_automation", "frontend", "homeassistant", "media_source"),
    *("panel_custom", "persistent_notification", "script", "system_health", "system_log"),
    *("webhook", "websocket_api", "zone"),
}
"""Components that any integration may import from without naming them; `http` is none."""
FORBIDDEN_PACKAGES = {
    *("async-timeout", "codecov", "mkdocs", "pyserial-asyncio", "pytest", "setuptools"),
    *("sphinx", "wheel"),
}


# The manifest

MANIFEST_SCHEMA = probatio.Schema(
    {
        probatio.Required("domain"): DOMAIN,
        probatio.Required("name"): str,
        probatio.Required("codeowners"): [probatio.Match(r"^@[\w-]+(/[\w-]+)?$")],
        probatio.Required("config_flow"): True,
        probatio.Required("documentation"): probatio.Match(r"^https://(?!www\.home-assistant\.io)"),
        probatio.Required("integration_type"): probatio.In(
            ["device", "entity", "hardware", "helper", "hub", "service", "system"]
        ),
        probatio.Required("iot_class"): probatio.In(
            [
                *("assumed_state", "calculated", "cloud_polling", "cloud_push"),
                *("local_polling", "local_push"),
            ]
        ),
        probatio.Required("issue_tracker"): probatio.Match(r"^https://"),
        probatio.Required("version"): str,
        probatio.Optional("after_dependencies"): [str],
        probatio.Optional("bluetooth"): [
            {
                probatio.Optional(key): bool if key == "connectable" else object
                for key in BluetoothMatcher.__annotations__
            }
        ],
        probatio.Optional("dependencies"): [str],
        probatio.Optional("loggers"): [str],
        probatio.Optional("quality_scale"): probatio.In(["bronze", "silver", "gold", "platinum"]),
        probatio.Optional("requirements"): [str],
    }
)


def test_the_manifest_has_the_keys_that_are_known_and_they_hold_what_they_may() -> None:
    MANIFEST_SCHEMA(MANIFEST)
    strategies = [
        AwesomeVersionStrategy.CALVER,
        AwesomeVersionStrategy.SEMVER,
        AwesomeVersionStrategy.SIMPLEVER,
        AwesomeVersionStrategy.BUILDVER,
        AwesomeVersionStrategy.PEP440,
    ]
    AwesomeVersion(MANIFEST["version"], ensure_strategy=strategies)
    assert DOMAIN not in CORE_INTEGRATIONS


def test_what_the_integration_depends_on_is_there_and_named_once() -> None:
    dependencies, after = MANIFEST["dependencies"], MANIFEST["after_dependencies"]
    assert {*dependencies, *after} <= CORE_INTEGRATIONS
    assert len({*dependencies, *after}) == len(dependencies) + len(after)


def imported_components(path: Path) -> Iterator[str]:
    """Name the components that a module imports from; signing a path is the one exception."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "homeassistant.components":
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [alias.name for alias in node.names]
            signs = node.module == "homeassistant.components.http.auth"
            modules = [] if signs and names == ["async_sign_path"] else [node.module]
        else:
            continue
        for module in modules:
            if module.startswith("homeassistant.components."):
                yield module.split(".")[2]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_the_manifest_names_every_component_that_a_module_imports_from(path: Path) -> None:
    named = {*MANIFEST["dependencies"], *MANIFEST["after_dependencies"]}
    if "bluetooth_adapters" in named:
        named.add("bluetooth")
    place = path.relative_to(PACKAGE)
    where = place.stem if len(place.parts) == 1 else place.parts[0]
    unnamed = set(imported_components(path)) - named - ALWAYS_THERE
    if where in CORE_INTEGRATIONS:
        assert unnamed <= {where}
    else:
        assert all((PACKAGE / f"{each}.py").is_file() for each in unnamed)


def test_what_can_only_be_set_up_in_the_browser_says_so() -> None:
    names = {
        target.id
        for node in ast.parse((PACKAGE / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "CONFIG_SCHEMA" in names
    assert (PACKAGE / "config_flow.py").is_file()


# Requirements


def pins(path: Path) -> dict[str, Version]:
    """Return the one version of each package that constraints allow."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pinned = (line.partition("==") for line in lines if "==" in line and ";" not in line)
    return {canonicalize_name(name): Version(version) for name, _, version in pinned}


INSTALLED = pins(CORE / "package_constraints.txt") | {"homeassistant": Version(__version__)}
RELEASES = {"installed": INSTALLED, "newest": pins(NEWEST)}


def refusals(requirement: str, pinned: dict[str, Version]) -> Iterator[str]:
    """Say what is in the way of installing a requirement beside what a release pins.

    A minor version of what core pins may come with any release, as paho-mqtt 2.2.0 will.
    """
    asked = Requirement(requirement)
    version = pinned.get(canonicalize_name(asked.name))
    if any(each.operator in {"==", "===", "~="} for each in asked.specifier):
        yield f"{requirement} leaves no choice"
    if version is not None:
        for wanted in (version, Version(f"{version.major}.{version.minor + 1}.0")):
            if not asked.specifier.contains(wanted):
                yield f"{requirement} excludes {wanted}"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("requirement", MANIFEST["requirements"])
def test_a_requirement_can_be_installed_beside_what_a_release_pins(
    requirement: str, release: str
) -> None:
    assert not list(refusals(requirement, RELEASES[release]))


def test_the_constraints_that_are_kept_are_of_a_release_not_older_than_the_installed_one() -> None:
    assert RELEASES["newest"]["homeassistant"] >= INSTALLED["homeassistant"]
    assert len(RELEASES["newest"]) > 80


@pytest.mark.parametrize("requirement", ["paho-mqtt==2.1.0", "paho-mqtt~=2.1.0", "paho-mqtt<2.2"])
def test_a_requirement_that_core_would_outgrow_is_refused(requirement: str) -> None:
    assert list(refusals(requirement, {"paho-mqtt": Version("2.1.0")}))


@pytest.mark.parametrize("requirement", MANIFEST["requirements"])
def test_a_requirement_is_written_as_hassfest_reads_it(requirement: str) -> None:
    assert re.fullmatch(r"[-_,.\w\[\]]+((==|>=|<=|~=|!=|<|>).*)?", requirement)
    assert " " not in requirement
    assert Requirement(requirement).name not in FORBIDDEN_PACKAGES


# Actions, triggers and conditions

FIELD = probatio.Schema(
    {
        probatio.Optional("example"): probatio.NotIn([None]),
        probatio.Optional("default"): probatio.NotIn([None]),
        probatio.Optional("required"): bool,
        probatio.Optional("selector"): selector.validate_selector,
    }
)
DESCRIPTION = probatio.Schema(
    {
        probatio.Optional("target"): probatio.Any(selector.TargetSelector.CONFIG_SCHEMA, None),
        probatio.Optional("fields"): {
            str: probatio.Any(
                FIELD,
                {probatio.Optional("collapsed"): bool, probatio.Required("fields"): {str: FIELD}},
            )
        },
    }
)


@pytest.mark.parametrize("file", ["services", "triggers", "conditions"])
def test_descriptions_hold_what_they_may(file: str) -> None:
    described = load_yaml_dict(str(PACKAGE / f"{file}.yaml"))
    for name, each in described.items():
        if name.startswith(".") and file != "services":
            continue
        # What may begin with an underscore in core alone is no action's name.
        (cv.slug if file == "services" else cv.underscore_slug)(name)
        DESCRIPTION(each)
        names = [
            field
            for key, value in each.get("fields", {}).items()
            for field in value.get("fields", [key])
        ]
        assert len(names) == len(set(names)), name
        assert {"name", "description"} <= TEXTS[file][name].keys()


# Texts and icons

KEY = probatio.Match(r"^(?!.+[_-]{2})(?![_-])[a-z0-9-_]+(?<![_-])$")
WORDS = {KEY: str}
SLUG = cv.slug
NAMED = {probatio.Required("name"): str, probatio.Required("description"): str}
STEP = {
    **dict.fromkeys(map(probatio.Optional, ("title", "description", "submit")), str),
    **dict.fromkeys(
        map(
            probatio.Optional,
            ("data", "data_description", "menu_options", "menu_option_descriptions"),
        ),
        WORDS,
    ),
    probatio.Optional("sections"): {
        KEY: {
            **dict.fromkeys(map(probatio.Optional, ("name", "description")), str),
            **dict.fromkeys(map(probatio.Optional, ("data", "data_description")), WORDS),
        }
    },
}
FLOW = {
    probatio.Optional("flow_title"): str,
    probatio.Required("step"): {KEY: STEP},
    **dict.fromkeys(map(probatio.Optional, ("error", "abort", "progress", "create_entry")), WORDS),
}
STATES = {
    probatio.Optional("name"): str,
    probatio.Optional("state"): WORDS,
}
DESCRIBED = {
    **NAMED,
    probatio.Optional("fields"): {KEY: {**NAMED, probatio.Optional("example"): str}},
}
TEXTS_SCHEMA = probatio.Schema(
    {
        probatio.Optional("config"): FLOW,
        probatio.Optional("options"): FLOW,
        probatio.Optional("config_subentries"): {
            SLUG: {
                **FLOW,
                probatio.Required("entry_type"): str,
                probatio.Required("initiate_flow"): {probatio.Required("user"): str, **WORDS},
            }
        },
        probatio.Optional("selector"): {
            SLUG: {
                probatio.Optional("choices"): WORDS,
                probatio.Optional("options"): WORDS,
                probatio.Optional("unit_of_measurement"): WORDS,
                # With a description each, or without any.
                probatio.Optional("fields"): probatio.Any({SLUG: str}, {KEY: NAMED}),
            }
        },
        probatio.Optional("system_health"): {probatio.Optional("info"): WORDS},
        probatio.Optional("issues"): {
            KEY: probatio.Any(
                {probatio.Required("title"): str, probatio.Required("description"): str},
                {probatio.Required("title"): str, probatio.Required("fix_flow"): FLOW},
            )
        },
        probatio.Optional("device"): {KEY: {probatio.Optional("name"): str}},
        probatio.Optional("entity"): {
            SLUG: {
                KEY: {
                    **STATES,
                    probatio.Optional("state_attributes"): {KEY: STATES},
                    probatio.Optional("unit_of_measurement"): str,
                }
            }
        },
        probatio.Optional("exceptions"): {SLUG: {probatio.Optional("message"): str}},
        probatio.Optional("services"): {
            KEY: {
                **DESCRIBED,
                probatio.Optional("sections"): {
                    KEY: {probatio.Required("name"): str, probatio.Optional("description"): str}
                },
            }
        },
        probatio.Optional("conditions"): {cv.underscore_slug: DESCRIBED},
        probatio.Optional("triggers"): {cv.underscore_slug: DESCRIBED},
        probatio.Optional("common"): {SLUG: str},
    }
)


def flows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the texts of every flow."""
    yield from ((name, TEXTS[name]) for name in ("config", "options"))
    yield from TEXTS["config_subentries"].items()
    fixable = {key: each["fix_flow"] for key, each in TEXTS["issues"].items() if "fix_flow" in each}
    yield from fixable.items()


def test_texts_stand_where_they_may() -> None:
    TEXTS_SCHEMA(TEXTS)
    for name, texts in flows():
        for step in texts["step"].values():
            assert step.get("data_description", {}).keys() <= step.get("data", {}).keys(), name
            assert (
                step.get("menu_option_descriptions", {}).keys()
                <= step.get("menu_options", {}).keys()
            ), name


@pytest.mark.parametrize(
    "misplaced",
    [
        {"selector": {"output": {"fields": {"node": {"name": "Node"}}}}},
        {"selector": {"output": {"value": "Yes"}}},
        {"config": {"title": "uLogger", "step": {}}},
        {"issues": {"away": {"title": "Away", "description": "It is.", "fix_flow": {"step": {}}}}},
        {"issues": {"away": {"title": "Away"}}},
        {"exceptions": {"Away": {"message": "Away."}}},
        {"services": {"upload": {"name": "Upload"}}},
        {"config_subentries": {"folder": {"step": {}, "entry_type": "Folder"}}},
        {"entity": {"sensor": {"state": {"state": {"a__b": "A"}}}}},
        {"strings": {}},
    ],
)
def test_texts_that_hassfest_would_refuse_are_refused(misplaced: Any) -> None:
    with pytest.raises(probatio.Invalid):
        TEXTS_SCHEMA(misplaced)


ICON = probatio.Match(r"^mdi:[a-z0-9-]+$")
ICONS_SCHEMA = probatio.Schema(
    {
        probatio.Optional("entity"): {
            SLUG: {
                KEY: {
                    probatio.Optional("default"): ICON,
                    probatio.Optional("state"): {KEY: ICON},
                    probatio.Optional("range"): {probatio.Coerce(float): ICON},
                    probatio.Optional("state_attributes"): {
                        KEY: {
                            probatio.Optional("default"): ICON,
                            probatio.Optional("state"): {KEY: ICON},
                        }
                    },
                }
            }
        },
        probatio.Optional("services"): {
            KEY: {
                probatio.Optional("service"): ICON,
                probatio.Optional("sections"): {KEY: ICON},
            }
        },
        probatio.Optional("conditions"): {
            cv.underscore_slug: {probatio.Optional("condition"): ICON}
        },
        probatio.Optional("triggers"): {cv.underscore_slug: {probatio.Optional("trigger"): ICON}},
    }
)


def test_icons_stand_where_they_may_and_none_stands_twice() -> None:
    ICONS_SCHEMA(ICONS)
    for entities in ICONS["entity"].values():
        for icons in entities.values():
            for each in (icons, *icons.get("state_attributes", {}).values()):
                assert each.get("default") not in each.get("state", {}).values()


def test_every_json_file_can_be_read() -> None:
    for path in PACKAGE.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


# HACS


def test_hacs_json_says_what_hacs_reads_and_nothing_else() -> None:
    known = {
        *("name", "homeassistant", "hacs", "content_in_root", "zip_release", "filename"),
        *("hide_default_branch", "country", "persistent_directory"),
    }
    assert "name" in HACS
    assert HACS.keys() <= known
    assert Version(HACS["homeassistant"]) <= INSTALLED["homeassistant"]
    assert [path.name for path in PACKAGE.parent.iterdir() if path.is_dir()] in (
        [DOMAIN],
        [DOMAIN, "__pycache__"],
        ["__pycache__", DOMAIN],
    )
