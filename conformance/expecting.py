"""How a scenario says what is not as the documentation has it."""


class NotSo(Exception):
    """Something is not as the documentation has it."""


def expect(condition: object, what: str) -> None:
    """Raise NotSo unless a condition holds."""
    if not condition:
        raise NotSo(what)
