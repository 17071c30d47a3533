from __future__ import annotations

import json
from typing import Any

import pytest

from workbench.datasets.errors import DamagedStoreError
from workbench.datasets.manifest import Manifest, decode, digest

SEGMENT = {"rid0": 0, "rows": 2, "files": [{"oid": "ab", "cols": ["q", "a"]}], "stats": {"size_bytes": 10}}


def document(**changes: Any) -> dict[str, Any]:
    schema = [{"name": "q", "type": "string"}, {"name": "a", "type": "string"}]
    return {"format": 1, "schema": schema, "next_rid": 2, "parent": None, "segments": [SEGMENT], **changes}


def encoded(**changes: Any) -> tuple[bytes, str]:
    content = json.dumps(document(**changes)).encode()
    return content, digest(content)


def test_the_keys_on_disk_are_those_of_the_format() -> None:
    manifest = decode(*encoded())
    written = json.loads(manifest.encode())
    assert set(written) == {"format", "schema", "next_rid", "parent", "segments"}
    assert set(written["segments"][0]) == {"rid0", "rows", "files", "del", "overlays", "stats"}
    assert decode(manifest.encode(), digest(manifest.encode())) == manifest


def test_equal_content_has_one_hash() -> None:
    one, other = (Manifest.model_validate(document()) for _ in range(2))
    assert digest(one.encode()) == digest(other.encode())


@pytest.mark.parametrize("format_", [2, 0, "1", None])
def test_an_unknown_format_is_refused(format_: object) -> None:
    with pytest.raises(DamagedStoreError, match=f"has the format {format_}; upgrade the workbench"):
        decode(*encoded(format=format_))


@pytest.mark.parametrize("change", [{"del": "c0"}, {"overlays": ["c1"]}, {"files": [*SEGMENT["files"]] * 2}])  # type: ignore[misc]
def test_edits_that_the_reader_cannot_apply_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DamagedStoreError, match="carries edits that this workbench cannot apply"):
        decode(*encoded(segments=[{**SEGMENT, **change}]))


def test_an_unknown_member_is_refused() -> None:
    with pytest.raises(DamagedStoreError, match="has 1 unknown members; upgrade"):
        decode(*encoded(index="ff"))


def test_a_changed_manifest_is_refused() -> None:
    content, name = encoded()
    with pytest.raises(DamagedStoreError, match="was changed on disk"):
        decode(content.replace(b'"rows": 2', b'"rows": 3'), name)
