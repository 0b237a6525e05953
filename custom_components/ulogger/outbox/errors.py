"""What can go wrong on disk, and whether trying again can help."""

import errno
import sqlite3
from typing import ClassVar, Final

from ..model.reason import Reason


class OutboxError(Exception):
    """Something the outbox could not do; nothing was acknowledged and nothing is half there.

    ``retryable`` says whether the same call can succeed later without anybody's help,
    ``reason`` is the translation key.
    """

    retryable: ClassVar[bool] = False
    reason: ClassVar[Reason] = Reason.OUTBOX_FAILED


class DiskFull(OutboxError):
    """There is no room; devices must keep what they have."""

    retryable = True
    reason = Reason.DISK_FULL


class DiskFailed(OutboxError):
    """The disk refused to read or write: an I/O error, or it became read-only."""

    retryable = True
    reason = Reason.DISK_FAILED


class OutboxLocked(OutboxError):
    """Another process has the file open."""

    retryable = True
    reason = Reason.OUTBOX_LOCKED


class OutboxDamaged(OutboxError):
    """The file's content is not what was written; opening it anew repairs what can be repaired."""

    reason = Reason.OUTBOX_DAMAGED


class OutboxTooNew(OutboxError):
    """A later version of the integration wrote the file; it is left as it is."""

    reason = Reason.OUTBOX_TOO_NEW


class OutboxClosed(OutboxError):
    """The outbox was closed before the call could begin."""

    reason = Reason.OUTBOX_CLOSED


class Unstorable(OutboxError):
    """A name or number in the capture can't be written: text that is no Unicode."""

    reason = Reason.UNSTORABLE


class NoSuchCapture(OutboxError):
    """The capture is not, or no longer, in the outbox."""

    reason = Reason.NO_SUCH_CAPTURE


_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BY_CODE: Final[dict[int, type[OutboxError]]] = {
    sqlite3.SQLITE_FULL: DiskFull,
    sqlite3.SQLITE_IOERR: DiskFailed,
    sqlite3.SQLITE_READONLY: DiskFailed,
    sqlite3.SQLITE_CANTOPEN: DiskFailed,
    sqlite3.SQLITE_PERM: DiskFailed,
    sqlite3.SQLITE_AUTH: DiskFailed,
    sqlite3.SQLITE_NOMEM: DiskFailed,
    sqlite3.SQLITE_INTERRUPT: DiskFailed,
    sqlite3.SQLITE_BUSY: OutboxLocked,
    sqlite3.SQLITE_LOCKED: OutboxLocked,
}


def as_outbox_error(
    error: sqlite3.Error | OSError | ValueError | TypeError | OverflowError,
) -> OutboxError:
    """Name the failure by SQLite's primary result code; what no code explains is damage.

    A name that can't be written is its giver's fault; one that can't be read is the disk's.
    """
    if isinstance(error, OSError):
        kind: type[OutboxError] = DiskFull if error.errno in _NO_SPACE else DiskFailed
        return kind(str(error))
    if isinstance(error, (UnicodeEncodeError, OverflowError)):
        return Unstorable(str(error))
    if not isinstance(error, sqlite3.Error):
        return OutboxDamaged(str(error))
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return _BY_CODE.get(code, OutboxDamaged)(str(error))
