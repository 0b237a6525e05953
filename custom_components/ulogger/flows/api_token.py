"""What is typed as an API token."""


class InvalidOption(Exception):
    """An option can't be taken; the text is the key of the message."""


def parse_api_token(typed: str) -> str:
    """Return the API token without blanks around it; empty, there is none."""
    token = typed.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidOption("invalid_api_token")
    return token
