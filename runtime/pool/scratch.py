"""The workers' /tmp: a file system of exactly the configured size for each, on disk.

A tmpfs would be charged to the function's memory: filling it would kill the function. So each /tmp is an ext4 image on
disk (``loop_image``); what a function writes is page cache that the kernel can drop. Spares of the default size are
made ahead, and what a worker left as it was is one again.

Where there are no loop devices (a container without them), no privilege, no room on disk, or ``limit`` images already,
``take`` answers with an OSError: the worker then makes itself a tmpfs, and its memory limit must be raised by the
size. Images are sparse: together they may promise more than the disk holds, as long as each would fit when it is made.
"""

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from runtime.pool import instance, loop_image, spares

LIMIT = 2000
"""Images at a time; each costs 150 KB of kernel memory and a loop device."""

RESERVE_BYTES = 1 << 30
"""No image is made where it would, when full, leave less than this on the disk."""

KEPT = 64
"""Images of one size that are kept ready at most, where workers gave them back as they were."""

DEFAULT_MB = 512
"""The size that spares are kept of: Lambda's default EphemeralStorage."""

_MB = 1 << 20
_THREADS = 2
_TEMPLATES = 32
"""Sizes whose template is remembered; each is 60 to 180 KB."""

Use = Callable[[loop_image.Image | OSError], None]


class Store:
    """The images of one supervisor. Use from one event loop; the work is done in threads."""

    def __init__(self, folder: Path, *, ready: int = 8, limit: int = LIMIT, reserve_bytes: int = RESERVE_BYTES) -> None:
        """``folder``: where the images are to lie, apart. Raises OSError, saying why, where none can be made."""
        if shutil.which("mkfs.ext4") is None:
            raise OSError(errno.ENOENT, "mkfs.ext4 is not installed (package e2fsprogs)")
        self._folder = _own(folder)
        self._limit = limit
        self._reserve_bytes = reserve_bytes
        self._living = 0
        self._loops = loop_image.Loops()
        self._templates: dict[int, loop_image.Template] = {}
        # One of each is made here and now: nothing tells more surely whether it can be done.
        self._renews = _renews(self._make(DEFAULT_MB))
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._renewing = 0
        self._makers = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="scratch")
        # Apart, because freeing disk may wait for the disk.
        self._breakers = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="scratch-end")
        # Apart again: it waits for others.
        self._suspects = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="scratch-copies")
        self._spares: dict[int, spares.Spares[loop_image.Image]] = {}
        self._of(DEFAULT_MB, ready).fill()

    @property
    def living(self) -> int:
        """Return how many images were taken and not discarded."""
        return self._living

    @property
    def ready(self) -> int:
        """Return how many images of the default size can be taken at once."""
        return self._spares[DEFAULT_MB].ready

    def take(self, size_mb: int, use: Use) -> None:
        """Give an image to ``use``, at once or as soon as it is made, or the OSError that stands against it."""
        if self._living >= self._limit:
            use(OSError(errno.EMFILE, f"{self._limit} workers have a /tmp on disk already"))
            return
        if self._free_bytes() < size_mb * _MB + self._reserve_bytes:
            use(OSError(errno.ENOSPC, f"{self._folder} has no room for {size_mb} MB"))
            return
        self._living += 1

        def hand_over(made: loop_image.Image | OSError) -> None:
            if isinstance(made, OSError):
                self._living -= 1
            use(made)

        self._of(size_mb).take(hand_over)

    def discard(
        self, image: loop_image.Image, spent: Callable[[str], None] | None = None, *, alone: bool = False
    ) -> None:
        """Destroy an image whose worker is gone, in a thread.

        Where others may hold its mount, ``spent`` is told so, from the thread, should they go on doing it. ``alone``:
        nobody but the worker can ever have had a descriptor of it; then it is used again if it is as it was.
        """
        self._living -= 1
        if spent is None:
            one = self._of(image.size_mb)
            if alone and self._renews and not self._closed and one.ready + self._renewing < KEPT:
                self._renewing += 1
                self._breakers.submit(self._renew, image, one)
            else:
                one.discard(image)
        else:
            self._suspects.submit(_destroy_surely, image, spent)

    def close(self) -> None:
        """Destroy what was made ahead and give the loop devices back; images in use go when they are discarded."""
        self._closed = True
        for one in self._spares.values():
            one.close()
        self._makers.shutdown(wait=True)
        self._breakers.shutdown(wait=True)
        self._suspects.shutdown(wait=True)
        self._loops.close()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _of(self, size_mb: int, ready: int = 0) -> spares.Spares[loop_image.Image]:
        if size_mb not in self._spares:
            self._spares[size_mb] = spares.Spares(
                lambda: self._make(size_mb),
                loop_image.destroy,
                ready=ready,
                makers=self._makers,
                breakers=self._breakers,
            )
        return self._spares[size_mb]

    def _renew(self, image: loop_image.Image, spare: spares.Spares[loop_image.Image]) -> None:
        try:
            renewed = None if self._closed else loop_image.renew(image)
        except OSError:
            renewed = None
        if renewed is None:
            loop_image.destroy(image)
        try:
            self._loop.call_soon_threadsafe(self._renewed, spare, renewed)
        except RuntimeError:  # the loop is gone
            if renewed is not None:
                loop_image.destroy(renewed)

    def _renewed(self, spare: spares.Spares[loop_image.Image], renewed: loop_image.Image | None) -> None:
        self._renewing -= 1
        if renewed is not None:
            spare.keep(renewed)

    def _make(self, size_mb: int) -> loop_image.Image:
        template = self._templates.get(size_mb)
        if template is None:
            template = loop_image.template(self._loops, self._folder, size_mb)
            if len(self._templates) < _TEMPLATES:
                self._templates[size_mb] = template
        return loop_image.make(self._loops, self._folder, template)

    def _free_bytes(self) -> int:
        statistics = os.statvfs(self._folder)
        return statistics.f_bavail * statistics.f_frsize


def _own(folder: Path) -> Path:
    """Return a new folder in ``folder``, and remove those of supervisors that were killed.

    Those were there before us: a state folder is one supervisor's at a time.

    ext4 puts it into a part of the disk of its own. A file's inode is the first free one there, but without a journal
    none that was freed during the last minutes: after a thousand images, to pass over those takes longer than to make
    one.
    """
    for old in folder.iterdir():
        if instance.is_name(old.name):
            with contextlib.suppress(OSError):  # somebody put something there
                old.rmdir()
    with contextlib.suppress(OSError):  # another file system
        loop_image.spread_folders(folder)
    own = folder / instance.name()
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def _renews(image: loop_image.Image) -> bool:
    """Return whether it shows here that somebody used an image, by an image, which is destroyed."""
    try:
        image = loop_image.renew(image) or image
        os.close(os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=image.fd))
        renewed = loop_image.renew(image)
        image = renewed or image
    except OSError:
        return False
    else:
        return renewed is None
    finally:
        loop_image.destroy(image)


def _destroy_surely(image: loop_image.Image, spent: Callable[[str], None]) -> None:
    if not loop_image.destroy_surely(image):
        spent("it holds on to the /tmp of a copy that is gone")
