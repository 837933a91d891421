"""File systems in unnamed files behind loop devices: how one is made, mounted and destroyed.

- ``mkfs.ext4`` runs once for each size. What it wrote (56 KB for 512 MB) is kept and written to each new device: an
  image costs 0.6 ms and 150 KB of kernel memory, instead of 10 ms and a process. To the device, not to the file:
  mounting finds it in the device's cache, and the disk has nothing to do before that is flushed, half a minute later
  or at the end.
- The file has no name (O_TMPFILE), the loop device clears itself at its last use, the mount is never attached but to
  the worker's own namespace: when the last descriptor goes, everything goes, even if we are killed. There is nothing
  to collect at the next start.
- No journal, no barriers: nothing of it outlives its worker. At the end its files are removed before it is unmounted,
  so that half a gigabyte that nobody will read is not written to disk first. (EXT4_IOC_SHUTDOWN would do it too, but
  alerts the console each time.)

- An image that its worker left as it was, as those of most functions, is the next one's: see ``renew``. That costs a
  fifth of what it takes to destroy one and to make another.

Everything here blocks for up to tens of milliseconds, and is thread-safe.
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import os
import re
import struct
import subprocess
import threading
import time
from pathlib import Path

from runtime.pool import kernel

_MB = 1 << 20
_BLOCK = 4096
_ATTEMPTS = 16
_MKFS = (
    *("mkfs.ext4", "-q", "-F", "-b", str(_BLOCK), "-m", "0", "-i", "16384"),
    *("-O", "^has_journal,^resize_inode,^metadata_csum,uninit_bg,sparse_super2"),
    *("-E", "lazy_itable_init=1,nodiscard,root_owner=0:0,num_backup_sb=0"),
)
_OPTIONS: dict[str, str | None] = {"nobarrier": None, "noinit_itable": None}
_AHEAD_OFF = "no_prefetch_block_bitmaps"
"""What keeps a kernel thread from reading the maps of free blocks of each new file system, some seconds later."""

_LETTING_GO = 20
_LETTING_GO_S = 0.02
"""How often, and how far apart, is looked whether a loop device let go of its file: unmounting may take a moment."""
_REMOVED_FILES = 10_000
_REMOVED_DEPTH = 16
"""What a hostile tree may cost us; the rest is written out, and then freed."""

_GAP = 1 << 16
"""Parts of a template that are closer together are one, since a hole costs more than the zeros in it."""

# linux/fs.h
_FITRIM = 0xC0185879
_WHOLE = struct.pack("QQQ", 0, (1 << 64) - 1, 0)
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602
_TOPDIR = 0x20000
# linux/loop.h
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_LO_FLAGS_DIRECT_IO = 16


class Loops:
    """Loop devices of the machine."""

    def __init__(self, dev: Path = Path("/dev")) -> None:
        """Raise OSError where there are none for us."""
        self._dev = dev
        self._control = os.open(dev / "loop-control", os.O_RDWR | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._next: int | None = None

    def attach(self, file: int) -> tuple[Path, int]:
        """Return path and descriptor of a loop device for a file; it clears itself when nothing uses it any more."""
        # struct loop_config: fd, block size, struct loop_info64 (of which only lo_flags), reserved.
        flags = _LO_FLAGS_AUTOCLEAR | _LO_FLAGS_DIRECT_IO
        configuration = struct.pack("<II52xI176x64x", file, _BLOCK, flags)
        for _ in range(_ATTEMPTS):
            with self._lock:
                # The kernel looks through all devices for a free one. Mostly the one after the last is.
                guess, self._next = self._next, None
                number = fcntl.ioctl(self._control, _LOOP_CTL_GET_FREE) if guess is None else guess
                path = self._dev / f"loop{number}"
                try:
                    device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                except FileNotFoundError:
                    if guess is None:
                        raise
                    continue
                try:
                    fcntl.ioctl(device, _LOOP_CONFIGURE, configuration)
                except OSError as error:
                    os.close(device)
                    if error.errno not in (errno.EBUSY, errno.ENXIO):  # another process took it, or took it away
                        raise
                else:
                    self._next = number + 1
                    return path, device
        raise OSError(errno.EBUSY, "no free loop device: others take them faster than we can")

    def close(self) -> None:
        """Let go. The kernel keeps the devices that it made for us, free for anybody: to remove one takes it 50 ms."""
        os.close(self._control)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What makes a new file a file system that offers ``size_mb``."""

    size_mb: int
    file_bytes: int
    extents: tuple[tuple[int, bytes], ...]
    """(offset, content) of what is not a hole."""
    written_kb: int = 0
    """``Image.written_kb`` of its images."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One file system, mounted nowhere yet."""

    size_mb: int
    fd: int
    """The mount (O_PATH), for move_mount(2). Stays ours: the file system lives until ``destroy``."""
    file: int
    """The file behind it."""
    device: str
    """Name of the loop device, for as long as the file system lives."""
    written_kb: int
    """What the kernel's count of what was written to it is, once all is written, if nobody has used it."""
    template: Template | None = None
    """What it was made of, if it may be that this was not written yet."""

    def disk_bytes(self) -> int:
        """Return how much of the disk it takes now."""
        return os.fstat(self.file).st_blocks * 512


def spread_folders(folder: Path) -> None:
    """Have ext4 put each new folder in ``folder`` somewhere else, not beside it: see chattr(1), attribute T."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(fd, _GETFLAGS, bytes(4)))
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("i", flags | _TOPDIR))
    finally:
        os.close(fd)


def make(loops: Loops, folder: Path, template: Template) -> Image:
    """Return a new, empty file system whose file lies, without a name, in ``folder``. Raises OSError."""
    file = _new_file(folder, template.file_bytes)
    try:
        fd, device = _mount(loops, file, template.extents)
    except BaseException:
        os.close(file)
        raise
    return Image(
        size_mb=template.size_mb, fd=fd, file=file, device=device, written_kb=template.written_kb, template=template
    )


def renew(image: Image) -> Image | None:
    """Return an image as good as new in place of one whose worker is gone and left it as it was; else None.

    It is not asked of the worker: what anybody changes, be it undone, has to be written in the end, and ext4 counts
    what is written. But a change of what the template consists of may be written together with that, so this is
    compared: of any change there remains a time at least. Neither is it seen by the next one which names the last one
    looked for: the kernel forgets them. Only for a worker that could give no descriptor of it to anybody who is still
    there. Raises OSError.
    """
    if _settled_kb(image) != image.written_kb:
        return None
    if image.template is not None and not _holds(image.device, image.template):
        return None
    # A mount can be attached only once, so it gets another one.
    fd = _new_mount(f"/dev/{image.device}")
    try:
        kernel.remount(fd)
        renewed = dataclasses.replace(image, fd=fd, written_kb=_written_kb(image.device), template=None)
    except BaseException:
        os.close(fd)
        raise
    os.close(image.fd)
    return renewed


def _settled_kb(image: Image) -> int:
    """Have everything written, and return the kernel's count of that."""
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=image.fd)
    try:
        kernel.syncfs(folder)
    finally:
        os.close(folder)
    return _written_kb(image.device)


def _holds(device: str, template: Template) -> bool:
    """Return whether a device holds a template but for the first block, where the kernel tells of the mount."""
    fd = os.open(f"/dev/{device}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return all(
            os.pread(fd, len(content), offset)[0 if offset else _BLOCK :] == content[0 if offset else _BLOCK :]
            for offset, content in template.extents
        )
    finally:
        os.close(fd)


def _written_kb(device: str) -> int:
    # Through Path it would take longer than all the rest.
    fd = os.open(f"/sys/fs/ext4/{device}/session_write_kbytes", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 32))
    finally:
        os.close(fd)


def destroy(image: Image) -> None:
    """Unmount a file system, throwing away what was not written yet, and free its disk."""
    _unmount(image)
    os.close(image.file)


def destroy_surely(image: Image) -> bool:
    """Destroy an image whose mount others may hold; return whether it is gone. Takes longer."""
    _unmount(image)
    try:
        return not _is_attached(image)
    finally:
        os.close(image.file)


def _unmount(image: Image) -> None:
    # Only spares the disk writes; the image goes anyway. A function may have left folders deeper than Python recurses.
    with contextlib.suppress(OSError, RecursionError):
        _remove_files(image.fd)
    os.close(image.fd)


def _is_attached(image: Image) -> bool:
    """Return whether the file is still behind its loop device, which lets go of it at its last use."""
    for _ in range(_LETTING_GO):
        try:
            backing = Path(f"/sys/block/{image.device}/loop/backing_file").read_text()
        except OSError:
            return False
        # A file without a name is shown by the number of its inode.
        if f"#{os.fstat(image.file).st_ino} " not in backing:
            return False
        time.sleep(_LETTING_GO_S)
    return True


def _remove_files(mount: int) -> None:
    left = _REMOVED_FILES
    for path, folders, files, fd in os.fwalk(".", dir_fd=mount):
        for name in files[:left]:
            os.unlink(name, dir_fd=fd)
        left -= len(files)
        if left <= 0:
            return
        if path.count("/") >= _REMOVED_DEPTH:
            folders.clear()


def template(loops: Loops, folder: Path, size_mb: int) -> Template:
    """Return the template of a size; runs mkfs.ext4 until the result offers that size. Raises OSError."""
    wanted = size_mb * _MB
    file_bytes = wanted
    while True:
        file = _new_file(folder, file_bytes)
        try:
            _format(file)
            offered = _settle(loops, file)
            if offered >= wanted:
                made = Template(size_mb=size_mb, file_bytes=file_bytes, extents=_extents(file))
                break
        finally:
            os.close(file)
        # What ext4 keeps for itself grows in steps, so this may take a few rounds.
        file_bytes += wanted - offered
    one = make(loops, folder, made)
    try:
        return dataclasses.replace(made, written_kb=_settled_kb(one))
    finally:
        destroy(one)


def _new_file(folder: Path, size: int) -> int:
    file = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.ftruncate(file, size)
    return file


def _format(file: int) -> None:
    try:
        subprocess.run(  # noqa: S603 - fixed arguments
            [*_MKFS, f"/proc/self/fd/{file}"], check=True, capture_output=True, pass_fds=(file,)
        )
    except subprocess.CalledProcessError as error:
        raise OSError(errno.EIO, f"mkfs.ext4: {error.stderr.decode(errors='replace').strip()}") from error


def _mount(loops: Loops, file: int, extents: tuple[tuple[int, bytes], ...] = ()) -> tuple[int, str]:
    """Return a descriptor of the mount, and the name of its device; ``extents`` are written to that before."""
    path, device = loops.attach(file)
    try:
        for offset, content in extents:
            os.pwrite(device, content, offset)
        return _new_mount(str(path)), path.name
    finally:
        os.close(device)


def _new_mount(source: str) -> int:
    return kernel.new_filesystem("ext4", {"source": source, **_options()}, kernel.NOSUID | kernel.NODEV)


@functools.cache
def _options() -> dict[str, str | None]:
    # Since Linux 5.13 they are read unless one says no; before, it does not know the word.
    release = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
    return {**_OPTIONS, _AHEAD_OFF: None} if release >= (5, 13) else _OPTIONS


def _settle(loops: Loops, file: int) -> int:
    """Make a fresh file system look like a /tmp, with holes where it is free; return how many bytes it offers."""
    mount, _ = _mount(loops, file)
    try:
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        try:
            os.rmdir("lost+found", dir_fd=folder)
            os.fchmod(folder, 0o1777)
            with contextlib.suppress(OSError):
                fcntl.ioctl(folder, _FITRIM, _WHOLE)
            statistics = os.fstatvfs(folder)
        finally:
            os.close(folder)
    finally:
        os.close(mount)
    return statistics.f_bavail * statistics.f_frsize


def _extents(file: int) -> tuple[tuple[int, bytes], ...]:
    parts: list[tuple[int, int]] = []
    end = 0
    while True:
        try:
            found = start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return tuple((start, os.pread(file, end - start, start)) for start, end in parts)
            raise
        if parts and found - end <= _GAP:
            start, _ = parts.pop()
        end = os.lseek(file, found, os.SEEK_HOLE)
        parts.append((start, end))
