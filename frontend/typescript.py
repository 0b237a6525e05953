"""Writes the panel's TypeScript types out of what Home Assistant's side is typed with."""

import sys
import types
import typing
from collections.abc import Iterator

from custom_components.ulogger.panel import messages

_NAMES = {int: "number", float: "number", str: "string", bool: "boolean", type(None): "null"}


def as_typescript(kind: typing.Any) -> str:
    """Return how TypeScript says a type; TypeError for one that it has no word for."""
    if kind in _NAMES:
        return _NAMES[kind]
    if isinstance(kind, typing.TypeAliasType) or typing.is_typeddict(kind):
        return str(kind.__name__)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " | ".join(f'"{part}"' for part in parts)
    if origin in {types.UnionType, typing.Union}:
        return " | ".join(dict.fromkeys(as_typescript(part) for part in parts))
    if origin is list:
        inner = as_typescript(parts[0])
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if origin is tuple:
        return f"[{', '.join(as_typescript(part) for part in parts)}]"
    if origin is dict:
        return f"Record<{as_typescript(parts[0])}, {as_typescript(parts[1])}>"
    raise TypeError(f"{kind} has no equivalent in TypeScript")


def lines() -> Iterator[str]:
    """Yield the module, line by line."""
    yield "// Made by script/panel build of panel/messages.py, which explains each field."
    for name, kind in vars(messages).items():
        if isinstance(kind, typing.TypeAliasType):
            yield f"export type {name} = {as_typescript(kind.__value__)};"
        elif typing.is_typeddict(kind):
            yield ""
            yield f"export interface {name} {{"
            for field, of in typing.get_type_hints(kind, include_extras=True).items():
                optional = typing.get_origin(of) is typing.NotRequired
                said = as_typescript(typing.get_args(of)[0] if optional else of)
                yield f"  {field}{'?' if optional else ''}: {said};"
            yield "}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
