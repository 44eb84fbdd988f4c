"""Pillow's process-wide settings, set strictly while pictures are read and put back afterwards."""

import contextlib
import threading
import warnings
from types import TracebackType

from PIL import Image, ImageFile


class _StrictPillow:
    """A context that any number of threads may be in at once: the first in sets, the last out restores.

    Inside, Pillow has no size limit and no size warning of its own (the reader checks first, with its own limit and message), refuses
    truncated files even where another library has allowed them, and prints none of its warnings.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._set()
            self._users += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._restore.close()

    def _set(self) -> None:
        self._restore.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        self._restore.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
        self._restore.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", module=r"PIL\.")
        Image.MAX_IMAGE_PIXELS = None
        ImageFile.LOAD_TRUNCATED_IMAGES = False


strict_pillow = _StrictPillow()
