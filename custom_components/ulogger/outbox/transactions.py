"""All or nothing, on a connection without transactions of its own."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what happens inside, durably, or leave no trace of it."""
    settle(connection)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    finally:
        settle(connection)


def settle(connection: sqlite3.Connection) -> None:
    """Take back what a failure has left open; nobody is to see it, and nobody to add to it."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
