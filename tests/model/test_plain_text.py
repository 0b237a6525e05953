"""What a device chose is shown as text, wherever Markdown is rendered, and stays on its line."""

import html
import json
import random
import shutil
import subprocess
from pathlib import Path

import hass_frontend
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.model.plain_text import LONGEST, one_line, plain_text

PIECES = [
    *"aé²_*[]()!<>|#~`\\&:;@-+.=/${}'\"^% \n\t\u0301\u200b\u202e😀",
    *("__", "**", "](", "![", "<b>", "<img src=x>", "<ha-alert>", "```", "~~", "&lt;", "&#91;"),
    *("http://", "HTTPS://", "ftp://", "www.", "WWW.", "evil.invalid", "x@y.invalid", "mailto:"),
    *("- ", "+ ", "1. ", "2) ", "=== ", "---", "# ", "> ", "[!NOTE]", "a_b", "    "),
]
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A87DE76F0011", "A87DE76F0011"),
        ("door_1.front-2 (hall) + 50 %", "door_1.front-2 (hall) + 50 %"),
        ("Heating & Cooling!", "Heating & Cooling!"),
        ("![x](http://evil.invalid/p.png)", "! x (http: evil.invalid/p.png)"),
        ("<img src=//evil.invalid>", "img src=//evil.invalid"),
        ("https://evil.invalid www.evil.invalid", "https: evil.invalid www evil.invalid"),
        ("me@evil.invalid", "me evil.invalid"),
        ("&lt;b&gt;", "lt;b gt;"),
        ("__bold__ *x* ~y~ `z`", "bold x y z"),
        ("- a\n- b", "a - b"),
        ("1. first", "1 first"),
        ("***", "?"),
        ("", "?"),
    ],
)
def test_text_stays_and_markdown_goes(text: str, shown: str) -> None:
    assert plain_text(text) == shown


@given(HOSTILE)
def test_what_is_shown_is_one_bounded_line_and_the_same_when_shown_again(text: str) -> None:
    plain = plain_text(text)
    assert 0 < len(plain) <= LONGEST
    assert plain.isprintable()
    assert plain == plain.strip()
    assert not set(plain) & set("\\`*[]<>|#~@")
    assert plain_text(plain) == plain


@given(HOSTILE)
def test_a_line_of_a_log_stays_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert "\x1b" not in one_line(text)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_home_assistants_own_renderer_finds_no_markdown_in_it() -> None:
    pieces = random.Random(9)
    texts = ["".join(pieces.choices(PIECES, k=pieces.randint(1, 9))) for _ in range(3000)]
    shown = [plain_text(text) for text in texts]
    as_markdown = [
        *(f"{text} has been seen" for text in shown),
        *(f"The device **{text}** (x) belongs" for text in shown),
        *(f"Captures:\n- {text}: log" for text in shown),
    ]
    as_html = [
        *(f"<p>{text} has been seen</p>\n" for text in shown),
        *(f"<p>The device <strong>{text}</strong> (x) belongs</p>\n" for text in shown),
        *(f"<p>Captures:</p>\n<ul>\n<li>{text}: log</li>\n</ul>\n" for text in shown),
    ]
    assert [html.unescape(each) for each in rendered(as_markdown)] == as_html
    # The renderer does render: what is not made plain is no text.
    assert "<a href" in rendered(["https://evil.invalid"])[0]


def rendered(texts: list[str]) -> list[str]:
    """Return the HTML that Home Assistant's frontend makes of Markdown."""
    [worker] = Path(hass_frontend.where(), "frontend_latest").glob("markdown-worker.*.js")
    done = subprocess.run(
        ["node", Path(__file__).with_name("markdown.mjs"), worker],
        input=json.dumps(texts).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    answer: list[str] = json.loads(done.stdout)
    return answer
