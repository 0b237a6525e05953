"""Files uploaded in a flow, kept over a failed check: nobody uploads the same file twice."""

from homeassistant.components.file_upload import process_uploaded_file
from homeassistant.core import HomeAssistant

LARGEST_UPLOAD = 1024 * 1024


class UploadError(Exception):
    """An uploaded file can't be had; `reason` is the key of the message."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Uploads:
    """What has been uploaded in one flow. Home Assistant deletes a file once it was read."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    async def async_read(self, hass: HomeAssistant, file_id: str) -> bytes:
        """Return the content of an upload, from the first reading if there was one."""
        if file_id not in self._contents:
            self._contents[file_id] = await hass.async_add_executor_job(_take, hass, file_id)
        return self._contents[file_id]


def _take(hass: HomeAssistant, file_id: str) -> bytes:
    """Read an uploaded file and have it deleted. Blocks."""
    try:
        with process_uploaded_file(hass, file_id) as path, path.open("rb") as file:
            content = file.read(LARGEST_UPLOAD + 1)
    except ValueError as err:
        raise UploadError("upload_gone") from err
    except OSError as err:
        raise UploadError("file_unreadable") from err
    if len(content) > LARGEST_UPLOAD:
        raise UploadError("file_too_large")
    return content
