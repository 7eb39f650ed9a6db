"""Small files around keys and certificates: read within a bound, written whole or not at all, and private
where they must be.
"""

import os
import stat
from pathlib import Path
from typing import Final

from node.keys.keystore import (
    KeyFileExists,
    KeyFileInaccessible,
    KeyFileMissing,
    KeystoreError,
    write_whole,
)

OTHERS: Final = 0o077
PUBLIC_MODE: Final = 0o644
PRIVATE_MODE: Final = 0o600


class FileExposed(KeystoreError):
    """Others than its owner can use a file or directory that must be private, or somebody else owns it."""

    code = "FILE_EXPOSED"


def check_private(path: Path) -> None:
    """Refuse a file or directory that is not this user's own, or that others can use.

    Raises: FileExposed, KeyFileMissing, KeyFileInaccessible.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise KeyFileMissing(f"{path}: no such file or directory: check the path") from None
    except OSError as error:
        raise KeyFileInaccessible(f"{path}: {error.strerror}: check the path and its permissions") from None
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid():
        raise FileExposed(
            f"{path}: belongs to user {found.st_uid}, but user {os.geteuid()} runs this: run chown, or run "
            "it as the owner"
        )
    if mode & OTHERS:
        wanted = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise FileExposed(f"{path}: others than its owner can use it ({mode:04o}): run chmod {wanted} {path}")


def read_file(path: Path, most: int) -> bytes:
    """A file's content, of at most so many bytes. Raises: KeyFileMissing, KeyFileInaccessible."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise KeyFileMissing(f"{path}: no such file or directory: check the path") from None
    except OSError as error:
        raise KeyFileInaccessible(f"{path}: {error.strerror}: check the path and its permissions") from None
    if len(data) > most:
        raise KeyFileInaccessible(f"{path}: larger than such a file can be")
    return data


def write_file(path: Path, data: bytes, *, private: bool = False, replace: bool = False) -> None:
    """Write a file whole and durably, or not at all. private: only its owner may use it.

    Raises: KeyFileExists unless it may be replaced, KeyFileInaccessible.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, overwrite=replace, mode=PRIVATE_MODE if private else PUBLIC_MODE)
    except FileExistsError:
        raise KeyFileExists(f"{path}: is there already: choose another name") from None
    except OSError as error:
        raise KeyFileInaccessible(f"{path}: {error.strerror}: check the path and its permissions") from None
