"""Models as a researcher holds them in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.http import HTTP
from workbench.core.schemas import PageQuery
from workbench.registry import routes
from workbench.registry.schemas import Lineage, Model
from workbench.registry.schemas import ModelVersion as Record


@dataclass(frozen=True)
class ModelVersion:
    """A handle on one model version."""

    http: HTTP
    record: Record

    @property
    def id(self) -> str:
        """The version's id."""
        return self.record.id

    @property
    def name(self) -> str:
        """The model's name and the version's number, such as `demo-base-capitals v1`."""
        return f"{self.record.model_name} v{self.record.number}"

    def lineage(self) -> Lineage:
        """Return what this version came from and what came from it."""
        return self.http.call(routes.lineage, version_id=self.id)

    def dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return self.record.model_dump(mode="json")

    def __repr__(self) -> str:
        return f"<ModelVersion {self.name} ({self.record.kind}) {self.id}>"

    def _repr_html_(self) -> str:
        rows = {"kind": self.record.kind, "id": self.id, "weights": self.record.weights_sha256 or "not read yet"}
        cells = "".join(
            f"<tr><td>{name}</td><td><code>{html.escape(value)}</code></td></tr>" for name, value in rows.items()
        )
        return f"<b>{html.escape(self.name)}</b><table>{cells}</table>"


class Models:
    """`wb.models`: the registry."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def list(self) -> Sequence[Model]:
        """Return the newest models."""
        return self._http.call(routes.listing, query=PageQuery(limit=200)).items

    def version(self, version_id: str) -> ModelVersion:
        """Return one version by its id."""
        return ModelVersion(self._http, self._http.call(routes.version, version_id=version_id))

    def __getitem__(self, name: str) -> ModelVersion:
        found = next((model for model in self.list() if model.name == name), None)
        if found is None:
            raise KeyError(f"there is no model {name!r}")
        return ModelVersion(self._http, found.versions[0])

    def _ipython_key_completions_(self) -> Sequence[str]:
        return [model.name for model in self.list()]
