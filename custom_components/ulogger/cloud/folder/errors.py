"""How a directory fails; each failure waits for a person or for the disk, and loses nothing."""

from ...model.reason import Reason
from ..errors import CloudUnavailable


class FolderError(CloudUnavailable):
    """The directory did not take a capture."""

    reason = Reason.FOLDER_FAILED


class FolderMissing(FolderError):
    """The directory is not there: a disk or share is not mounted, or it was removed."""

    reason = Reason.FOLDER_MISSING


class FolderFull(FolderError):
    """There is no space left where the directory is."""

    reason = Reason.FOLDER_FULL


class FolderUnwritable(FolderError):
    """The directory is there and can't be written."""

    reason = Reason.FOLDER_UNWRITABLE
