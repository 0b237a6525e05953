"""Metrics by the hour, in the file beside the outbox, until and after they are imported.

An hour comes in parts, one with each capture; so it is kept for some weeks after it was imported,
and imported as a whole again when there is more of it.
"""

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..insight.hourly import Hour
from ..model.identity import DeviceKey

KEPT: Final = 24 * 35
"""Hours that an imported one is kept for."""
KEPT_WAITING: Final = 24 * 400
"""Hours that one is kept for which nobody imports."""

TABLES: Final = (
    """CREATE TABLE hours (
        application_id INTEGER NOT NULL,
        serial TEXT NOT NULL,
        name TEXT NOT NULL,
        hour INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        total REAL NOT NULL,
        low REAL NOT NULL,
        high REAL NOT NULL,
        due INTEGER NOT NULL DEFAULT 1,
        PRIMARY KEY (application_id, serial, name, hour)) WITHOUT ROWID""",
    "CREATE INDEX hours_due ON hours (hour) WHERE due",
)

type MetricKey = tuple[DeviceKey, str]
"""A device, and the name of something that it measures."""


def metric_key(name: str) -> str:
    """Return the key of the sensor that shows a metric of a device."""
    return f"metric-{name}"


class DueHour(NamedTuple):
    """An hour of a device's metric that has something new."""

    metric: MetricKey
    hour: Hour


def add_hours(connection: sqlite3.Connection, key: DeviceKey, hours: Iterable[Hour]) -> None:
    """Add parts of hours to what there is of them."""
    connection.executemany(
        "INSERT INTO hours (application_id, serial, name, hour, samples, total, low, high)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET due = 1,"
        " samples = samples + excluded.samples,"
        # Two totals beyond all numbers can make none, which SQLite has as NULL; 9e999 is infinite.
        " total = ifnull(total + excluded.total, 9e999),"
        " low = min(low, excluded.low), high = max(high, excluded.high)",
        ((*key, *hour) for hour in hours),
    )


def due_hours(connection: sqlite3.Connection, before: int) -> list[DueHour]:
    """Return the hours that have something new and are over, the oldest first."""
    rows = connection.execute(
        "SELECT application_id, serial, name, hour, samples, total, low, high FROM hours"
        " WHERE due AND hour < ? ORDER BY hour",
        (before,),
    )
    return [
        DueHour(((application_id, serial), hour[0]), Hour(*hour))
        for application_id, serial, *hour in rows
    ]


def hours_done(connection: sqlite3.Connection, hours: Iterable[DueHour], now: int) -> None:
    """Note that hours were imported, unless they got more meanwhile, and delete old ones."""
    connection.executemany(
        "UPDATE hours SET due = 0 WHERE application_id = ? AND serial = ? AND name = ?"
        " AND hour = ? AND samples = ?",
        ((*key, name, hour.hour, hour.samples) for (key, name), hour in hours),
    )
    connection.execute("DELETE FROM hours WHERE NOT due AND hour < ?", (now - KEPT,))
    connection.execute("DELETE FROM hours WHERE hour < ?", (now - KEPT_WAITING,))
