"""Look for texts that a phone cuts off: in pages of a running Home Assistant, in each language."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page

import custom_components.ulogger
from demo.api import PASSWORD, USER
from demo.harness import Harness

WIDTH, HEIGHT = 390, 844
"""The CSS pixels of a common phone."""
PACKAGE = Path(custom_components.ulogger.__file__).parent
TRANSLATIONS = PACKAGE / "translations"
PANEL_TEXTS = PACKAGE / "panel/texts"
LANGUAGES = sorted(path.stem for path in TRANSLATIONS.iterdir())

CLIPPED = """() => {
  const found = [];
  const parent = element => element.assignedSlot || element.parentElement
    || (element.getRootNode() instanceof ShadowRoot ? element.getRootNode().host : null);
  const cuts = element =>
    !['visible', 'auto', 'scroll'].includes(getComputedStyle(element).overflowX);
  const seen = {opacityProperty: true, visibilityProperty: true};
  const look = root => {
    for (const element of root.querySelectorAll('*')) {
      if (element.shadowRoot) look(element.shadowRoot);
      const own = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE)
        .map(node => node.data).join(' ').trim();
      if (!own || !element.checkVisibility(seen)) continue;
      const range = document.createRange();
      range.selectNodeContents(element);
      const text = range.getBoundingClientRect();
      if (!text.width || !text.height) continue;
      let right = innerWidth, left = 0;
      for (let each = element; each; each = parent(each)) {
        if (each === document.body || !cuts(each)) continue;
        const box = each.getBoundingClientRect();
        if (box.width < 2 || box.height < 2) { right = Infinity; left = -Infinity; break; }
        right = Math.min(right, box.right);
        left = Math.max(left, box.left);
      }
      if (text.right > right + 1 || text.left < left - 1) {
        found.push([own.replace(/\\s+/g, ' '), Math.round(text.right - right)]);
      }
    }
  };
  look(document.body);
  return found;
}"""
"""Return the texts that go beyond what cuts them off, with the pixels that are too many."""


QUIET = """async () => {
  await document.fonts.ready;
  const look = root => [...root.querySelectorAll('*')].reduce(
    (text, element) => text + (element.shadowRoot ? look(element.shadowRoot) : ''),
    root.textContent + root.querySelectorAll('*').length);
  let before = '', quiet = 0;
  for (let round = 0; round < 100 && quiet < 3; round++) {
    const now = look(document.body);
    quiet = now === before ? quiet + 1 : 0;
    before = now;
    await new Promise(done => setTimeout(done, 50));
  }
}"""
"""Wait until texts and elements stay the same; where they move to does not matter here."""

NAVIGATE = """path => {
  history.pushState(null, '', path);
  window.dispatchEvent(new CustomEvent('location-changed'));
}"""
"""Go to a page as a link does, without loading everything anew."""

CLOSE = """() => document.querySelector('home-assistant').shadowRoot
  .querySelectorAll('dialog-data-entry-flow').forEach(dialog => dialog.closeDialog())"""
CLOSED = """() => ![...document.querySelector('home-assistant').shadowRoot
  .querySelectorAll('dialog-data-entry-flow')]
  .some(dialog => dialog.shadowRoot.querySelector('ha-dialog[open]'))"""

CLOSE_ITEM = """() => document.querySelector('home-assistant').shadowRoot
  .querySelectorAll('dialog-form').forEach(dialog => dialog.closeDialog())"""

UNFOLD = """() => {
  const look = root => {
    for (const element of root.querySelectorAll('*')) {
      if (element.localName === 'ha-expansion-panel') element.expanded = true;
      if (element.shadowRoot) look(element.shadowRoot);
    }
  };
  look(document.body);
}"""
FITS_ALL = re.compile(r"{name}|{(first|since)}\W*\w{0,3}\W*{(last|until)}")
"""Texts that are nearly all placeholders: whatever Home Assistant says would seem to be them."""
CONFIGURE = {
    "de": "Konfigurieren",
    "en": "Configure",
    "es": "Configurar",
    "fr": "Configurer",
    "zh-Hans": "配置",
}
"""What Home Assistant's own button says."""


def texts(language: str) -> dict[str, Any]:
    """Return what users read in a language."""
    name = f"{language}.json"
    found: dict[str, Any] = json.loads((TRANSLATIONS / name).read_text())
    return {**found, "panel": json.loads((PANEL_TEXTS / name).read_text())}


def all_of(node: Mapping[str, Any]) -> list[str]:
    """Return the texts below a key."""
    return [
        text
        for each in node.values()
        for text in ([each] if isinstance(each, str) else all_of(each))
    ]


def is_ours(language: str) -> Callable[[str], bool]:
    """Return what tells the integration's texts from Home Assistant's, filled in or not."""
    patterns = [
        re.compile(".*".join(map(re.escape, re.split(r"\{\w+\}|\*\*", " ".join(text.split())))))
        for text in all_of(texts(language))
        if not FITS_ALL.fullmatch(text)
    ]
    return lambda said: any(each.fullmatch(said) for each in patterns)


class Phone:
    """Home Assistant's pages as wide as a phone, in one language after the other."""

    def __init__(self, page: Page, demo: Harness, entry_id: str) -> None:
        self.page = page
        self.demo = demo
        self.entry_id = entry_id
        self.language = "en"

    async def sign_in(self) -> None:
        """Sign in."""
        await self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        await self.page.goto(self.demo.hass.url)
        await self.page.locator("input[name=username]").fill(USER)
        await self.page.locator("input[name=password]").fill(PASSWORD)
        await self.page.get_by_role("button", name="Log in", exact=True).first.click()
        await self.page.locator("ha-panel-lovelace, ha-sidebar, ha-drawer").first.wait_for()

    async def name_entities(self) -> None:
        """Have entities named in the language that is spoken, as they are when they are added."""
        await self.demo.api.command("config/core/update", language=self.language)
        await self.demo.api.request(
            "POST", f"/api/config/config_entries/entry/{self.entry_id}/reload"
        )

    async def speak(self, language: str) -> None:
        """Have all pages in a language."""
        self.language = language
        await self.page.evaluate(
            "language => localStorage.setItem('selectedLanguage', JSON.stringify(language))",
            language,
        )
        await self.load("/config/integrations/integration/ulogger")
        await self.page.locator("ha-config-entry-row").first.wait_for()

    def text(self, key: str) -> str:
        """Return a text of ours by its dotted key."""
        found: Any = texts(self.language)
        for part in key.split("."):
            found = found[part]
        return str(found)

    async def load(self, path: str) -> None:
        """Load a page, and with it all of Home Assistant's, in the language that is spoken."""
        await self.page.goto(self.demo.hass.url + path)

    async def go(self, path: str) -> None:
        """Go to a page."""
        await self.page.evaluate(NAVIGATE, path)

    def shown(self, key: str) -> Locator:
        """Find a text of ours on the page, filled in or not."""
        parts = map(re.escape, re.split(r"\{\w+\}|\*\*", self.text(key)))
        return self.page.get_by_text(re.compile(f"^\\s*{'.*'.join(parts)}\\s*$")).first

    async def press(self, key: str) -> None:
        """Press what has a text of ours."""
        await self.shown(key).click()

    async def close(self) -> None:
        """Close the dialog that is open."""
        await self.page.evaluate(CLOSE)
        await self.page.wait_for_function(CLOSED)

    async def open_integration(self) -> None:
        """Open the integration's page."""
        await self.go("/config/integrations/integration/ulogger")
        await self.page.locator("ha-config-entry-row").first.wait_for()

    async def answer_card(self, name: str) -> None:
        """Open the discovery card of a device."""
        await self.go("/config/integrations/dashboard")
        card = self.page.locator("ha-config-flow-card", has_text=name)
        await card.locator("ha-button").nth(1).click()

    async def open_options(self) -> None:
        """Open the options of the account from the integration's page."""
        await self.page.get_by_role(
            "button", name=CONFIGURE[self.language], exact=True
        ).first.click()

    async def add_integration(self) -> None:
        """Begin to add an account, and confirm that."""
        await self.go("/config/integrations/dashboard/add?domain=ulogger")
        await self.page.locator("dialog-box ha-button[slot=primaryAction]").click()

    async def change_destination(self, name: str) -> None:
        """Press the button that changes a destination, by the beginning of its name."""
        await self.open_integration()
        row = self.page.locator("ha-config-sub-entry-row").filter(
            has=self.page.locator("[slot=headline]", has_text=re.compile(f"^\\s*{name}"))
        )
        await row.locator("ha-icon-button[slot=end]").click()

    async def add_to_list(self, number: int) -> None:
        """Begin another item of a list in a form, the list's number counted from 0."""
        await self.page.locator("ha-selector-object").nth(number).locator("ha-button").last.click()

    async def close_item(self) -> None:
        """Close the dialog of an item of a list."""
        await self.page.evaluate(CLOSE_ITEM)
        await self.page.locator("dialog-form ha-form").first.wait_for(state="hidden")

    async def unfold(self) -> None:
        """Open all sections of a form."""
        await self.page.evaluate(UNFOLD)

    async def settle(self) -> None:
        """Wait until the page stands still."""
        await self.page.evaluate(QUIET)

    async def measure(self, key: str) -> list[tuple[str, int]]:
        """Return what is cut off of a page or form that shows a text, all of it unfolded."""
        await self.shown(key).wait_for()
        await self.unfold()
        await self.settle()
        return await self.clipped()

    async def measure_item(self) -> list[tuple[str, int]]:
        """Return what is cut off of the dialog for an item of a list."""
        await self.page.locator("dialog-form ha-form").first.wait_for()
        await self.settle()
        return await self.clipped()

    async def clipped(self) -> list[tuple[str, int]]:
        """Return our texts that are cut off now, and by how many pixels."""
        ours = is_ours(self.language)
        found = await self.page.evaluate(CLIPPED)
        return [(said, pixels) for said, pixels in found if ours(said)]
