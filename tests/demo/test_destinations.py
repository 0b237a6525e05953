"""The whole road to other destinations, and to none, with Home Assistant as a process."""

import pytest

from .test_road import demo_check

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("home_assistant_demo"),
]

THERE = {"captures": 4, "identical": True}


@pytest.mark.parametrize(
    ("arguments", "destinations", "kept"),
    [
        (("--destination", "folder"), {"ulogger": THERE, "folder": THERE}, None),
        (("--no-cloud",), {}, 4),
        (("--no-cloud", "--destination", "folder"), {"folder": THERE}, None),
        (("--destination", "otlp"), {"ulogger": THERE, "otlp": THERE}, None),
        (("--destination", "pepeunit"), {"ulogger": THERE, "pepeunit": THERE}, None),
        (("--no-cloud", "--destination", "pepeunit"), {"pepeunit": THERE}, None),
        (("--destination", "clesyde"), {"ulogger": THERE, "clesyde": THERE}, None),
        (
            ("--no-cloud", "--destination", "pepeunit", "--destination", "clesyde"),
            {"pepeunit": THERE, "clesyde": THERE},
            None,
        ),
        (("--no-cloud", "--destination", "udmi"), {"udmi": THERE}, None),
    ],
    ids=[
        "folder",
        "nothing",
        "folder-alone",
        "otlp",
        "pepeunit",
        "pepeunit-alone",
        "clesyde",
        "pepeunit-and-clesyde-alone",
        "udmi-alone",
    ],
)
async def test_check_finds_every_capture_wherever_it_was_to_go(arguments, destinations, kept):
    code, report, told = await demo_check("--devices", "2", *arguments)
    assert code == 0, told
    assert report["identical"]
    assert report["erased"]
    assert report["destinations"] == destinations
    assert report.get("kept") == kept
    assert (report["captures"], report["expected"], report["duplicated"]) == (4, 4, 0)
    assert report["log_problems"] == []
