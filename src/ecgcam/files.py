"""Files: written so that they appear whole or not at all, and NumPy files read without trusting them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import secrets
import stat
import tarfile
import tempfile
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where files that are open cannot be replaced either
    fcntl = None

# What NumPy and zipfile let through when a file is damaged or requires more memory than there is: they check little.
DAMAGED_ARRAY = (
    ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SyntaxError, OSError, EOFError, MemoryError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

# Arrays below so many bytes, and those of which a piece of that length keeps this share when deflated, are stored as they are.
_PROBE, _WORTH_PACKING = 8192, 0.8


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` on success, remove it on any exception.

    The temporary name keeps the suffix, since NumPy and Matplotlib choose the format by it.

    Raises
    ------
    OSError
        If the file cannot be written, or a pipe or a device is there, which a file must not take the place of.
    """
    if is_special(path):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    # With the permissions of an ordinary new file: the system applies the umask, which no process may read without changing it.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_special(path: Path) -> bool:
    """Whether at `path` is what is neither a file nor a folder, a pipe or a device: to read it may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; on any exception take away those that were made, where nothing else is in them by now."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for place in made:
            with contextlib.suppress(OSError):  # not made, or another result is in it by now
                place.rmdir()
        raise


@contextmanager
def writing(path: Path, folder: Path | None = None) -> Iterator[None]:
    """Make `folder` (that of `path`, unless given) to write `path`, and report any failure by the name of `path`.

    Raises
    ------
    EcgcamError
        If the disk is full or read-only, the folder has vanished, or the like; folders made for it are taken away.
    """
    try:
        with new_folder(path.parent if folder is None else folder):
            yield
    except OSError as error:
        raise EcgcamError(
            f"{path}: cannot be written ({error.strerror or error}); choose another with `out`"
        ) from error


@contextmanager
def locked(handle: int) -> Iterator[None]:
    """Hold an open file or folder as the only process that does; wait until it is free.

    The lock is the system's, and advisory: it ends with the process, however that ends.
    """
    lock(handle)
    try:
        yield
    finally:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)


def lock(handle: int, *, wait: bool = True) -> bool:
    """Take the lock of `locked`, which lasts until the handle is closed; return whether it was free, or has been waited for.

    Where there are no locks, on Windows and on network file systems mounted without, it is always free.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}:
            raise
    return True


def write_whole(handle: int, data: bytes) -> None:
    """Write to the end of an open file; on any exception, such as a full disk, leave it as long as it was."""
    size = os.fstat(handle).st_size
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(handle, left) :]
    except BaseException:
        os.ftruncate(handle, size)
        raise


def check_writable(folder: Path) -> None:
    """Raise `EcgcamError` unless files can be made in `folder`, or in its nearest existing parent; leave no trace."""
    try:
        existing = folder.absolute()
        while not _is_there(existing) and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise EcgcamError(f"{folder}: cannot write here, {existing} is not a folder; choose another with `out`")
        with tempfile.TemporaryDirectory(prefix=".ecgcam-", dir=existing):
            pass
    except OSError as error:
        raise EcgcamError(
            f"{folder}: cannot write here ({error.strerror or error}); choose another folder with `out`"
        ) from error


def _is_there(path: Path) -> bool:
    """Whether anything is at `path`: a link that leads nowhere is in the way as much as a file."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal.

    Raises
    ------
    EcgcamError
        If it cannot be read, or is a pipe or a device, which may never end.
    """
    if is_special(path):
        raise EcgcamError(f"{path}: is a pipe or a device, which may never end; name a file")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise EcgcamError(f"{path}: cannot be read ({one_line(error)}); check the path") from error


def pack_members(pack: Path) -> dict[str, tuple[int, int]]:
    """Return where the files of a pack (see `ecgcam.runs.packs`) begin in it, and their sizes, by name, in order.

    Raises
    ------
    EcgcamError
        If it is not a tar file, or cannot be read.
    """
    try:
        status = pack.stat()
        return _members(str(pack), status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise EcgcamError(f"{pack}: cannot be read ({error.strerror or error}); check the path") from error


@lru_cache(maxsize=8)
def _members(pack: str, _changed: int, size: int) -> dict[str, tuple[int, int]]:
    members: dict[str, tuple[int, int]] = {}
    with Path(pack).open("rb") as file:
        begin = file.read(tarfile.BLOCKSIZE)
        if begin[257:262] != b"ustar" and len(begin) == tarfile.BLOCKSIZE:
            raise EcgcamError(
                f"{pack}: not a pack of results (not a tar file); choose one that ecgcam explain --pack wrote"
            )
        file.seek(0)
        # A member that was cut off, in its header or its content, is left out.
        with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isfile() and member.offset_data + member.size <= size:
                    members[member.name] = (member.offset_data, member.size)
    return members


def is_file(path: Path) -> bool:
    """Whether there is such a file, in a folder or, as ``pack-00000.tar/record/prompt/summary.json``, in a pack."""
    return path.is_file() or _packed(path) is not None


def open_file(path: Path) -> BinaryIO:
    """Open a file to read, in a folder or in a pack."""
    place = None if path.is_file() else _packed(path)
    if place is None:
        return path.open("rb")
    pack, offset, size = place
    with pack.open("rb") as file:
        file.seek(offset)
        return io.BytesIO(file.read(size))


def _packed(path: Path) -> tuple[Path, int, int] | None:
    for pack in path.parents:
        if pack.suffix == ".tar" and pack.is_file():
            place = pack_members(pack).get(path.relative_to(pack).as_posix())
            return None if place is None else (pack, *place)
    return None


def load_arrays(path: Path, kind: str = "a readable NumPy file") -> npt.NDArray[Any] | dict[str, npt.NDArray[Any]]:
    """Return the array of a ``.npy`` file, or the arrays of an ``.npz`` archive by name. Nothing in the file is run.

    `kind` states in errors what the file should have been.

    Raises
    ------
    EcgcamError
        If the file is missing, damaged, or holds Python objects.
    """
    try:
        # Opened here, since np.load leaves a damaged archive open.
        with open_file(path) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            begin = file.read(2)
            file.seek(0)
            if begin == b"\x93N":
                return read_array(file, size)
            if begin != b"PK":
                raise EcgcamError(f"{path}: not {kind} (neither .npy nor .npz); choose such a file")
            with zipfile.ZipFile(file) as archive:
                return _members_of(archive, largest_unpacked(size))
    except EcgcamError:
        raise
    except DAMAGED_ARRAY as error:
        reason = one_line(error)
        if "pickle" in reason:  # NumPy's own message advises to switch the protection off
            reason = "it holds Python objects, which are never read; save plain numbers"
        raise EcgcamError(f"{path}: not {kind} ({reason}); write or copy it again") from error


def save_arrays(path: Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write an ``.npz`` that NumPy reads, each array compressed only where that saves a fifth.

    Traces and gradients shrink by a tenth, and deflating them took most of the time of writing a result.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays.items():
            array = np.asarray(values)
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED if _shrinks(array) else zipfile.ZIP_STORED
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _shrinks(array: npt.NDArray[Any]) -> bool:
    """Whether a piece of an array, from its middle, becomes clearly smaller when deflated."""
    if array.nbytes < _PROBE:
        return False
    count = max(1, _PROBE // array.itemsize)
    middle = array.size // 2
    piece = array.flat[middle - count // 2 : middle - count // 2 + count].tobytes()
    return len(zlib.compress(piece)) < _WORTH_PACKING * len(piece)


def parse_json(text: str | bytes) -> Any:
    """Return what JSON text holds.

    Raises
    ------
    ValueError
        If it is not JSON, nests deeper than Python follows, or holds halves of characters, which no file or screen can.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


def largest_unpacked(size: int) -> int:
    """Return how much a compressed file of `size` bytes may become: recordings shrink to a third, and bombs to a thousandth."""
    return max(64 << 20, 12 * size)


def _members_of(archive: zipfile.ZipFile, most: int) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an archive by name."""
    members = archive.infolist()
    if sum(member.file_size for member in members) > most:
        raise ValueError(f"it unpacks to more than {most >> 20} MB")
    arrays = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in arrays or name == member.filename:
            raise ValueError(
                f"its member {member.filename[:60]!r} is {'there twice' if name in arrays else 'not an array'}"
            )
        with archive.open(member) as file:
            arrays[name] = read_array(file, member.file_size)
    return arrays


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]] | None:
    """Return an array's shape, whether it is written by columns, and its type; None for another format than 1.0 or 2.0."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of files that Python 2 wrote
        shape, by_columns, dtype = read(file)
    return shape, bool(by_columns), dtype


def read_array(file: IO[bytes], size: int) -> npt.NDArray[Any]:
    """Read an array whose header states no more than `size` bytes hold; no text in it that Python cannot have."""
    header = array_header(file)
    if header is None:
        raise ValueError("its NumPy format is neither 1.0 nor 2.0")
    shape, by_columns, dtype = header
    if dtype.hasobject:
        raise ValueError("pickled objects")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > size or (count and not dtype.itemsize and count > size):
        raise ValueError(f"its header states {dtype} {shape}, which {size} bytes cannot hold")
    content = bytearray(count * dtype.itemsize)
    view, filled = memoryview(content), 0
    while filled < len(content) and (more := file.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += more
    if filled < len(content):
        raise ValueError("it is cut off")
    if dtype.kind == "U":
        points = np.frombuffer(content, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if ((points > 0x10FFFF) | (points >> 11 == 0x1B)).any():
            raise ValueError("text that is not Unicode")
    flat: npt.NDArray[Any] = np.frombuffer(content, dtype, count)
    return flat.reshape(shape, order="F" if by_columns else "C")


def one_line(error: BaseException) -> str:
    """Return the message of an exception as one short line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())[:160] or type(error).__name__
