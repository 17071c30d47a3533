"""The digest of a model's weights: the same for the same tensors, however they are spread over safetensors files."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import NotFound

CHUNK_BYTES = 1 << 22


class WeightsNotFound(NotFound):
    """The model folder has no safetensors weights."""

    code = "model.weights_not_found"


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor's bytes lie."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    #: Byte range in the file.
    begin: int
    end: int


def tensors(folder: Path) -> list[TensorEntry]:
    """List the tensors of a model folder, sorted by name; raises WeightsNotFound."""
    paths = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("adapter_model*.safetensors"))
    if not paths:
        raise WeightsNotFound(
            f"The model folder {folder.name!r} has no model.safetensors; only safetensors weights are read."
        )
    return sorted((entry for path in paths for entry in _entries(path)), key=lambda entry: entry.name)


def weights_sha256(folder: Path) -> str:
    """Hash name, dtype, shape and bytes of every tensor, in name order."""
    digest = hashlib.sha256()
    for entry in tensors(folder):
        digest.update(json.dumps([entry.name, entry.dtype, entry.shape]).encode())
        for chunk in _content(entry):
            digest.update(chunk)
    return digest.hexdigest()


def _entries(path: Path) -> Iterator[TensorEntry]:
    with path.open("rb") as file:
        (header_size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_size))
    base = 8 + header_size
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            yield TensorEntry(name, entry["dtype"], tuple(entry["shape"]), path, base + begin, base + end)


def _content(entry: TensorEntry) -> Iterator[bytes]:
    with entry.path.open("rb") as file:
        file.seek(entry.begin)
        left = entry.end - entry.begin
        while left > 0:
            chunk = file.read(min(left, CHUNK_BYTES))
            left -= len(chunk)
            yield chunk
