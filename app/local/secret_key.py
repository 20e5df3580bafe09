"""The key that seals secrets, where `tocsin up` keeps it: a file in its home that only its owner can read."""

import os
import tempfile
from pathlib import Path

from app.kit.sealing import SecretKey
from app.local.errors import LocalError


def place(home: Path) -> Path:
    return home / "secret-key"


def kept(home: Path) -> SecretKey | None:
    """The key that is kept in this home; None where there is none, or it is not ours to read."""
    path = place(home)
    try:
        return SecretKey.parse(path.read_text(encoding="ascii"))
    except (FileNotFoundError, PermissionError):
        return None
    except (OSError, ValueError) as error:
        raise LocalError(f"{path} holds no secret key; put back the one from your backup") from error


def kept_or_made(home: Path) -> tuple[SecretKey, bool]:
    """The key that is kept in this home, made at the first start, and whether it was made. Hold the home's lock."""
    if (found := kept(home)) is not None:
        return found, False
    made = SecretKey.new()
    try:
        _write(place(home), made.text + "\n")
    except OSError as error:
        raise LocalError(f"cannot keep a secret key in {home}: {error.strerror}") from error
    return made, True


def _write(path: Path, text: str) -> None:
    """Write a file that is there whole and durable, or not at all; never one that others can read."""
    descriptor, making = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    # A link, unlike a rename, replaces no key that somebody else has just put there.
    os.link(making, path)
    Path(making).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
