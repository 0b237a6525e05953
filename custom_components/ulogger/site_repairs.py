"""What a UDMI site wants of its gateway and only a person may decide."""

from homeassistant.components.repairs import RepairsFlowResult

from .gateway.udmi_site import ActiveUdmi
from .repair_flow import EntryFlow, IssueData, UserInput


class SiteFlow(EntryFlow):
    """What a UDMI site wants of the gateway and only a person may decide."""

    def __init__(self, data: IssueData) -> None:
        super().__init__(data)
        self._about = str(data["about"])

    @property
    def site(self) -> ActiveUdmi | None:
        """The gateway, unless it is gone or its account not at work."""
        entry = self.entry
        active = entry and entry.runtime_data.destinations.get(self._about)
        return active if isinstance(active, ActiveUdmi) else None


class RedirectFlow(SiteFlow):
    """Go to a broker that nobody has approved, or stay."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask."""
        return self.async_show_menu(
            step_id="init",
            menu_options=["confirm", "stay"],
            description_placeholders=self.placeholders,
        )

    async def async_step_confirm(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Go there; what becomes of that stands in the gateway's state."""
        return self._answer(approved=True)

    async def async_step_stay(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Stay."""
        return self._answer(approved=False)

    def _answer(self, *, approved: bool) -> RepairsFlowResult:
        if (site := self.site) is None:
            return self.not_loaded()
        # Another endpoint may have come while this one was shown.
        if site.asked is None or site.asked.address != self.placeholders.get("host"):
            return self.async_abort(reason="nothing_asked")
        site.answer(approved=approved)
        return self.async_create_entry(data={})


class SwitchedOffFlow(SiteFlow):
    """Have a gateway connect again that its site has switched off."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask."""
        return await self.async_step_confirm()

    async def async_step_confirm(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Switch it on."""
        if user_input is None:
            return self.ask("confirm")
        if (site := self.site) is None:
            return self.not_loaded()
        try:
            await site.async_switch_on()
        except OSError:
            return self.async_abort(reason="not_kept")
        return self.async_create_entry(data={})
