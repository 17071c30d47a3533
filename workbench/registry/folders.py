"""Base models on disk: a local folder or the hub cache, recognised by a cheap fingerprint. Loads no weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from workbench.core.errors import Invalid, NotFound

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
HEADER_LIMIT = 100 * 2**20  # bytes, as safetensors itself allows
LENGTH_BYTES = 8  # a safetensors file begins with the length of its JSON header


class BaseModelNotFound(NotFound):
    """There is no such base model."""

    code = "model.base_not_found"


class BaseModelInvalid(Invalid):
    """The folder does not hold a model that can be trained."""

    code = "model.base_invalid"


def locate(base: str) -> Path:
    """Return the folder of a base model, given as a folder on the server or a hub id in its cache."""
    folder = os.path.expanduser(base)
    if os.path.isdir(folder):  # False, not an error, for any string that cannot be a path
        return checked(Path(folder).resolve())
    try:
        return checked(Path(snapshot_download(base, local_files_only=True)))
    except (LocalEntryNotFoundError, HFValidationError, FileNotFoundError) as error:
        raise BaseModelNotFound(
            f"There is no base model “{base}”: it is neither a model version, nor a folder on the server,"
            " nor a model in the hub cache."
        ) from error


def checked(folder: Path) -> Path:
    """Return the folder if it holds a model in safetensors form; raise `BaseModelInvalid` naming what is missing."""
    for pattern, what in (
        ("config.json", "config.json"),
        ("*.safetensors", "safetensors weights"),
        ("tokenizer.json", "tokenizer.json"),
    ):
        if not any(path.is_file() for path in folder.glob(pattern)):
            raise BaseModelInvalid(f"The folder {folder} holds no {what}; give the folder of a safetensors model.")
    return folder


def name_of(folder: Path) -> str:
    """Return what people call a model: its hub id for a folder of the hub cache, else the folder's name."""
    parts = folder.parts[-3:]
    cached = len(parts) == 3 and parts[1] == "snapshots" and parts[0].startswith("models--")
    return parts[0].removeprefix("models--").replace("--", "/") if cached else folder.name


def fingerprint(folder: Path) -> str:
    """Hash the small files' content and the weights' sizes and headers: enough to tell two models apart cheaply."""
    digest = hashlib.sha256()
    small = {path for pattern in SMALL_FILES for path in folder.glob(pattern)}
    for path in sorted(filter(Path.is_file, small)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in sorted(filter(Path.is_file, folder.glob("*.safetensors"))):
        digest.update(f"{path.name}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}".encode() + _header(path))
    return digest.hexdigest()


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length > min(path.stat().st_size, HEADER_LIMIT):
            raise BaseModelInvalid(f"The file {path} is not in safetensors form; export the model again.")
        return file.read(length)
