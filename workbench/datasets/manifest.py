"""The manifest of a version: which stored segments make up its rows, in order. Its name is the hash of its content."""

import json
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.datasets.errors import DamagedStoreError
from workbench.datasets.schemas import Column

FORMAT: Literal[1] = 1
DIGEST_BYTES = 16  # blake2b-128


def digest(content: bytes) -> str:
    """Return the blake2b-128 of some bytes in hexadecimal: the name of objects and manifests."""
    return blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class SegmentFile(_Part):
    """A Parquet object and the columns that it holds."""

    oid: str
    cols: tuple[str, ...]


class SegmentStats(_Part):
    """Sizes known when the segment was written."""

    size_bytes: int


class Segment(_Part):
    """A run of rows with the ids `rid0`, `rid0 + 1` ... in their order."""

    rid0: int
    rows: int
    files: tuple[SegmentFile, ...]
    #: object id of a deletion bitmap, and of positional overlays: keys kept for edits, which this reader refuses
    deleted: str | None = Field(default=None, alias="del")
    overlays: tuple[str, ...] = ()
    stats: SegmentStats


class Manifest(_Part):
    """The content of one version."""

    format: Literal[1] = FORMAT
    columns: tuple[Column, ...] = Field(alias="schema")
    #: the id that the next new row will get, in this version's descendants too
    next_rid: int
    #: hash of the manifest this one was made from
    parent: str | None
    segments: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(segment.rows for segment in self.segments)

    def encode(self) -> bytes:
        """Return the canonical JSON that the hash is taken of."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(content: bytes, name: str) -> Manifest:
    """Read a manifest; refuse one that was changed on disk, or written by a newer workbench."""
    if digest(content) != name:
        raise DamagedStoreError(f"Manifest {name} was changed on disk; restore it from a backup.")
    document: dict[str, Any] = json.loads(content)
    if document.get("format") != FORMAT:
        raise _too_new(name, f"has the format {document.get('format')}")
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise _too_new(name, f"has {error.error_count()} unknown members") from error
    if any(segment.deleted or segment.overlays or len(segment.files) != 1 for segment in manifest.segments):
        raise _too_new(name, "carries edits that this workbench cannot apply")
    return manifest


def _too_new(name: str, reason: str) -> DamagedStoreError:
    return DamagedStoreError(f"Manifest {name} {reason}; upgrade the workbench to read it.")
