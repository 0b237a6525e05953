"""A firmware image as the form takes it: from the uploaded file to what is kept of it on disk.

Run in a process of its own, whose memory is measured. It holds Home Assistant and all of the
integration before the image comes, which is told beside it.
"""

import asyncio
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from homeassistant.core import HomeAssistant

from custom_components.ulogger.account.firmware_images import (
    FirmwareRefused,
    ImportedImage,
    async_import_image,
    image_directory,
    read_image_file,
)

from .lateness import Lateness
from .memory import peak_memory


def upload_in_a_process(path: str) -> dict[str, Any]:
    """Take an image; seconds, megabytes at the peak, and milliseconds the event loop was late."""
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as directory:
        return asyncio.run(_upload(Path(path), directory))


async def _upload(path: Path, directory: str) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    # One thread, so that it is known which one works beside the event loop.
    with ThreadPoolExecutor(1) as executor:
        loop.set_default_executor(executor)
        late = Lateness(await loop.run_in_executor(None, threading.get_native_id))
        hass = HomeAssistant(directory)
        before = peak_memory()
        probe = asyncio.create_task(late.watch())
        began = time.perf_counter()
        told: ImportedImage | str
        try:
            told = await async_import_image(hass, "bench", partial(read_image_file, path))
        except FirmwareRefused as err:
            told = err.reason
        seconds = time.perf_counter() - began
        probe.cancel()
        peak = peak_memory()
        await hass.async_stop(force=True)
        kept = list(image_directory(hass, "bench").glob("*"))
    imported = None if isinstance(told, str) else told
    return {
        "seconds": round(seconds, 2),
        "peak_mb": round(peak, 1),
        "added_mb": round(peak - before, 1),
        "kept_bytes": sum(file.stat().st_size for file in kept),
        "functions": imported.functions if imported else 0,
        "loop_late_of_ours_ms": None if late.ours is None else round(late.ours * 1000, 1),
        "refused": None if imported else told,
    }
