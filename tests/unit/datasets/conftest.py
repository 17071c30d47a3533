from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from workbench.core.context import Context, Principal
from workbench.core.database import Database
from workbench.core.errors import RemoteError, WorkbenchError
from workbench.core.http import HTTP
from workbench.core.routes import Route, UploadedFile
from workbench.core.settings import Settings
from workbench.datasets import api
from workbench.datasets.client import Datasets
from workbench.datasets.encoding import SourceFile
from workbench.datasets.ingest import Content, Drawing, ingest, seal
from workbench.datasets.schemas import DataRef, Split

assert api

USER = Principal("u_ada", "Ada", frozenset({"datasets:read", "datasets:write"}))
Write = Callable[[str, str | bytes], SourceFile]
Stored = Callable[..., DataRef]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file and return it as an upload: its path says nothing, its name does."""

    def write_file(name: str, content: str | bytes) -> SourceFile:
        path = tmp_path / f"upload-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return SourceFile(path, name)

    return write_file


@pytest.fixture
def stored(home: Path, write: Write) -> Stored:
    """Store some rows and return the reference to a split of them."""

    def store(rows: int, split: Split = "all", test_fraction: float = 0.2, segment_rows: int = 7) -> DataRef:
        text = "question,answer\n" + "".join(f"What is {n}?,It is {n}.\n" for n in range(rows))
        drawing = Drawing(test_fraction, 0)
        content = ingest(home, write("rows.csv", text), drawing, segment_rows=segment_rows)
        return reference(home, content, split)

    return store


def reference(home: Path, content: Content, split: Split = "all", parent: str | None = None) -> DataRef:
    return DataRef(
        dataset_id="ds_1",
        version_id="dsv_1",
        manifest=seal(home, content, parent),
        mapping=content.mapping,
        split=split,
        test_fraction=content.drawing.test_fraction,
        split_seed=content.drawing.seed,
    )


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


@pytest.fixture
def context(database: Database, settings: Settings) -> Iterator[Context]:
    with database.write() as session:
        yield Context(session, USER, settings)


class InProcess(HTTP):
    """The client's transport without a socket: the same JSON both ways, each call in a transaction of its own."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__("http://in-process", "token")
        self.database, self.settings = database, settings

    def call(self, route: Route[Any], *, query: Any = None, **parameters: Any) -> Any:
        return self._answer(route, query, parameters)

    def upload(self, route: Route[Any], path: Path, *, query: Any, progress: Any = None, **parameters: Any) -> Any:
        file = UploadedFile(path, path.stat().st_size, "")
        return self._answer(route, query, {**parameters, "file": file})

    def _answer(self, route: Route[Any], query: Any, arguments: dict[str, Any]) -> Any:
        if route.query is not None:
            wire = urlencode(query.model_dump(mode="json", exclude_none=True)) if query is not None else ""
            arguments["query"] = route.query.model_validate(dict(parse_qsl(wire)))
        assert route.endpoint is not None
        try:
            with self.database.write() as session:
                answer = route.endpoint(Context(session, USER, self.settings), **arguments)
        except WorkbenchError as error:
            raise RemoteError(error.problem()) from error
        return route.adapter.validate_json(route.adapter.dump_json(answer))


@pytest.fixture
def datasets(database: Database, settings: Settings) -> Iterator[Datasets]:
    http = InProcess(database, settings)
    yield Datasets(http)
    http.close()
