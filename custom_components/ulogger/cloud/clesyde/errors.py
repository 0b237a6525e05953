"""How setting up a gateway at Clesyde fails."""

from typing import Final

API_UNREACHABLE: Final = "api_unreachable"
API_TIMEOUT: Final = "api_timeout"
API_UNTRUSTED: Final = "api_untrusted"
API_NOT_THERE: Final = "api_not_there"
TOKEN_REFUSED: Final = "token_refused"  # noqa: S105 - a word
API_FAILED: Final = "api_failed"
ANSWER_INVALID: Final = "answer_invalid"
REGISTRATION_REFUSED: Final = "registration_refused"
HTTP_NOT_THERE: Final = "http_not_there"


class ThingError(Exception):
    """A thing can't be had or used; ``reason`` names the case, ``field`` what it is about.

    ``detail`` is what the other side said, as it said it. No error shows a key.
    """

    def __init__(self, reason: str, message: str, *, field: str = "base", detail: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.detail = detail
