"""The room of the clouds: what the broker sends, and the files that a person uploads."""

from .target import Target

TARGETS: tuple[Target, ...] = ()
