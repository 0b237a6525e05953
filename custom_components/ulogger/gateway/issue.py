"""One thing that a person should look at."""

from dataclasses import dataclass, field

from homeassistant.helpers import issue_registry as ir


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is not as it should be; `about` tells apart those of one kind.

    One that was ignored is shown again when its ``count`` grows. Placeholders are shown as plain
    text, whatever a device or the cloud chose them to be. ``detail`` is how it came about, for the
    log.
    """

    key: str
    about: str = ""
    fixable: bool = False
    severity: ir.IssueSeverity = ir.IssueSeverity.WARNING
    placeholders: dict[str, str] = field(default_factory=dict)
    count: int = 0
    detail: str = field(default="", compare=False)
