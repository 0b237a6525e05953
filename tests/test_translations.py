"""Every language has every text, with the same placeholders, as hassfest wants texts to be."""

import json
import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.translation import async_get_translations

import custom_components.ulogger
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.insight.crash_groups import CrashState
from custom_components.ulogger.insight.faults import FaultKind

TRANSLATIONS = Path(custom_components.ulogger.__file__).parent / "translations"
LANGUAGES = ("de", "es", "fr", "zh-Hans")
NOT_TO_BE_TRANSLATED = {"{name}", "{first}, {last}"}
THE_SAME_IN = {("de", "{fault} in {place}")}
KEY = re.compile(r"^(?!.+[_-]{2})(?![_-])[a-z0-9-_]+(?<![_-])$")
FLOWS = r"(?:config|options|config_subentries\.\w+)"
COUNTS = "brought_over|count|functions|limit|lost|quarantined|seconds"
"""Placeholders of texts that are numbers, and 1 sometimes."""
NAMED_IN_ARCHIVE = ("escapes", "name_twice", "not_a_file", "packed_oddly")
NAMED_IN_UNIT = ("invalid_choice", "out_of_range", "too_many_topics")
NAMED_IN_UDMI = ("host_invalid", "point_invalid", "point_twice", "proxy_invalid", "proxy_twice")
NAMED_BY_CLESYDE = ("api_failed", "host_invalid", "registration_refused")
URL = re.compile(r"(\w+://|www\.)[a-z0-9]", re.IGNORECASE)


def texts(language: str) -> dict[str, str]:
    """Give all texts of a language by their dotted keys, in the file's order."""
    found: dict[str, str] = {}

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, str):
            found[".".join(path)] = value
            return
        for key, each in value.items():
            walk(each, (*path, key))

    walk(json.loads((TRANSLATIONS / f"{language}.json").read_text()), ())
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


ENGLISH = texts("en")


def test_these_are_the_languages_there_are() -> None:
    assert {path.stem for path in TRANSLATIONS.iterdir()} == {"en", *LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_the_same_texts_as_english(language: str) -> None:
    assert list(texts(language)) == list(ENGLISH)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_has_the_same_placeholders_as_in_english(language: str) -> None:
    for key, text in texts(language).items():
        assert placeholders(text) == placeholders(ENGLISH[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_translated(language: str) -> None:
    for key, text in texts(language).items():
        if (language, text) in THE_SAME_IN:
            continue
        if " " in ENGLISH[key] and ENGLISH[key] not in NOT_TO_BE_TRANSLATED:
            assert text != ENGLISH[key], key


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_texts_are_as_hassfest_wants_them(language: str) -> None:
    for key, text in texts(language).items():
        assert text, key
        assert cv.string_with_no_html(text) == text, key
        assert text == text.strip(), key
        assert "[%" not in text, key
        assert not re.search(r"'{\w+}'", text), key
        assert not URL.search(text), key
        assert all(name.isidentifier() for name in placeholders(text)), key
        assert all(KEY.match(part) for part in key.split(".")), key


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_names_of_entities_and_states_have_no_placeholders(language: str) -> None:
    for key, text in texts(language).items():
        if key.startswith("entity."):
            assert not placeholders(text), key


@pytest.mark.parametrize(
    ("language", "word"),
    [("en", r"quota"), ("de", r"[Kk]ontingent"), ("de", r"[Aa]b(ge)?hol"), ("fr", r"quota")],
)
def test_one_thing_has_one_name(language: str, word: str) -> None:
    """The daily limit is one everywhere, and in German a device is read out."""
    assert [key for key, text in texts(language).items() if re.search(word, text)] == []


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_count_has_a_unit_that_is_wrong_for_one(language: str) -> None:
    keys = [key for key in texts(language) if key.startswith("entity.")]
    assert not any(key.endswith("unit_of_measurement") for key in keys)


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_an_error_leaves_to_the_log_how_it_came_about(language: str) -> None:
    """What stands in a file, what the other side answers, and a sentence of ours are for people."""
    detailed = {key for key, text in texts(language).items() if "{detail}" in text}
    assert detailed == {
        *(f"exceptions.archive_{each}.message" for each in NAMED_IN_ARCHIVE),
        *(f"exceptions.pepeunit_{each}.message" for each in ("file", "invalid", "not_a_uuid")),
        *(f"config_subentries.pepeunit.error.{each}" for each in NAMED_IN_UNIT),
        *(f"config_subentries.clesyde.error.{each}" for each in NAMED_BY_CLESYDE),
        "config_subentries.udmi.error.endpoint_invalid",
        *(f"config_subentries.udmi.error.{each}" for each in NAMED_IN_UDMI),
        "issues.firmware_refused.description",
        "issues.otlp_rejected.description",
        "issues.pepeunit_file_kept.description",
        "issues.pepeunit_firmware.fix_flow.abort.image_refused",
        "issues.quarantine.fix_flow.abort.outbox_failed",
        "issues.outbox_recovered.fix_flow.abort.outbox_failed",
        "issues.udmi_unreachable.description",
    }


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_sentence_counts_one_captures(language: str) -> None:
    """A number stands by itself: no word after it has to agree with it; in Chinese none does."""
    for key, text in texts(language).items():
        if not key.startswith("common.many_"):
            assert not re.search(rf"{{(?:{COUNTS})}} ?(?!s\b)[A-Za-zÀ-ÿ]", text), key


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_every_field_of_a_form_is_described(language: str) -> None:
    found = texts(language)
    for key in found:
        if match := re.fullmatch(rf"({FLOWS}\.step\..+)\.data\.(\w+)", key):
            assert f"{match[1]}.data_description.{match[2]}" in found


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
async def test_home_assistant_reads_the_file(hass: Any, language: str) -> None:
    found = await async_get_translations(hass, language, "exceptions", {DOMAIN})
    expected = texts(language)["exceptions.no_target.message"]
    assert found[f"component.{DOMAIN}.exceptions.no_target.message"] == expected


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        (FaultKind, "event.device_event.state_attributes.fault_kind"),
        (CrashState, "sensor.last_crash.state_attributes.crash_state"),
    ],
)
def test_what_is_told_of_a_crash_by_a_name_has_a_text(kind: Any, attribute: str) -> None:
    prefix = f"entity.{attribute}.state."
    named = {key.removeprefix(prefix) for key in ENGLISH if key.startswith(prefix)}
    assert named == {each.value for each in kind}
