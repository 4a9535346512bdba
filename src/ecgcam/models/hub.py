"""Where weights are: a file, several files, or a name on the hub, ``hf://OWNER/REPO[/FILE][@REVISION]``. No torch."""

from __future__ import annotations

import hashlib
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line, parse_json

EXTRA = "pip install 'ecgcam[text]'"
# A path loses one of the two slashes.
_NAME = re.compile(r"^hf:/{1,2}([^/@]+/[^/@]+)(?:/([^@]+))?(?:@(.+))?$")
# The file of a repository's weights, the first that there is.
_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal; of weights in several files that of their hashes, in order of name."""
    files = shards_of(path)
    if files is not None:
        return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shards_of(path: Path) -> list[Path] | None:
    """Return the files of weights in several: those that an index names, or a folder's safetensors; None of a single file.

    Raises
    ------
    EcgcamError
        If the index cannot be read or a file is missing, or the folder holds none.
    """
    if path.is_dir():
        index = sorted(path.glob("*.safetensors.index.json")) or sorted(path.glob("*.bin.index.json"))
        if index:
            return shards_of(index[0])
        files = sorted(path.glob("*.safetensors"))
        if not files:
            raise EcgcamError(f"{path}: a folder without *.safetensors; give the file of the weights")
        return files
    if not (path.name.endswith(".index.json") and path.is_file()):
        return None
    try:
        table = parse_json(path.read_bytes())
        names = sorted(set(table["weight_map"].values()))
        files = [path.parent / Path(name).name for name in names]
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise EcgcamError(f"{path}: not an index of files of weights ({one_line(error)}); download it again") from error
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise EcgcamError(
            f"{path}: names {', '.join(missing[:3]) or 'no file'}, which {'are' if len(missing) > 1 else 'is'} not "
            "there; download the missing files"
        )
    return files


@contextmanager
def offline_hub(offline: bool) -> Iterator[None]:
    """Keep huggingface_hub off the network for the duration, if `offline`; the environment is left alone."""
    if not offline:
        yield
        return
    constants: Any = import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


# Longer than any answer takes; huggingface_hub itself would try again for most of a minute.
_PATIENCE = 5.0


def hub_problem() -> str | None:
    """Return why the hub cannot be reached, in words, or None if it can; through a proxy nothing is tried ahead."""
    constants: Any = import_module("huggingface_hub.constants")
    address = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or address.scheme in getproxies() or "all" in getproxies():
        return None
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        return f"{address.hostname} cannot be reached ({error.strerror or error})"
    return None


def local_checkpoint(checkpoint: str | Path, offline: bool = False) -> Path:
    """Return where a checkpoint lies on this machine; one of the hub is downloaded into huggingface_hub's cache first.

    Parameters
    ----------
    checkpoint : str or path
        A file, a folder, or ``hf://OWNER/REPO[/FILE][@REVISION]``. Without a file, the repository's weights: `model.safetensors`,
        in one file or in several, `pytorch_model.bin`, or the only file of weights that there is.
    offline : bool
        Take it from the cache alone.

    Raises
    ------
    EcgcamError
        If the name is malformed, huggingface_hub is not installed, or the file cannot be had.
    """
    name = str(checkpoint)
    if not name.startswith("hf:/"):
        return Path(checkpoint)
    match = _NAME.match(name)
    if match is None:
        raise EcgcamError(f"`checkpoint` {name}: write hf://OWNER/REPO, hf://OWNER/REPO/FILE, or either with @REVISION")
    repo, file, revision = match.groups()
    try:
        import huggingface_hub
    except ImportError as error:
        raise EcgcamError(f"`checkpoint` {name}: huggingface_hub is not installed: {EXTRA}") from error
    problem = None if offline else hub_problem()
    if problem is not None:
        try:  # the cache may have it
            with offline_hub(True):
                return _fetched(huggingface_hub, repo, file, revision, offline=True)
        except _failures() as error:
            raise EcgcamError(
                f"`checkpoint` {name}: {problem}, and huggingface_hub's cache does not have it; download the file on another "
                "machine and give its path"
            ) from error
    try:
        with offline_hub(offline):
            return _fetched(huggingface_hub, repo, file, revision, offline)
    except EcgcamError:
        raise
    except _failures() as error:
        why = (
            "is not in huggingface_hub's cache, and `offline` forbids a download"
            if offline
            else f"cannot be had ({one_line(error)})"
        )
        raise EcgcamError(
            f"`checkpoint` {name}: {why}; check the name, or download the file and give its path"
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """Return what huggingface_hub raises where a file cannot be had; without a connection that is its HTTP client's error."""
    clients = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (OSError, ValueError, RuntimeError, LookupError, *(client.HTTPError for client in clients))


def _fetched(hub: Any, repo: str, file: str | None, revision: str | None, offline: bool) -> Path:
    def get(name: str) -> Path:
        return Path(hub.hf_hub_download(repo, name, revision=revision, local_files_only=offline))

    names = _listed(hub, repo, revision, offline) if file is None else []
    if file is None:
        weights = [name for name in names if name.endswith(_SUFFIXES)]
        file = next((name for name in _FILES if name in names), weights[0] if len(weights) == 1 else None)
    if file is None:
        raise EcgcamError(
            f"`checkpoint` hf://{repo}: name a file; the repository holds {', '.join(weights[:8]) or 'no weights'}; "
            f"write hf://{repo}/FILE"
        )
    path = get(file)
    if file.endswith(".index.json"):
        for shard in sorted(set(parse_json(path.read_bytes())["weight_map"].values())):
            get(str(Path(file).parent / shard))
    return path


def _listed(hub: Any, repo: str, revision: str | None, offline: bool) -> list[str]:
    """Return the files of a repository: by the hub, or, offline, by what the cache holds of the revision."""
    if not offline:
        return list(hub.HfApi().list_repo_files(repo, revision=revision))
    folder = Path(hub.snapshot_download(repo, revision=revision, local_files_only=True))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
