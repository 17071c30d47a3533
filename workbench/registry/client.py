"""Models as a researcher holds them in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from workbench.core.errors import NotFound
from workbench.core.http import HTTP
from workbench.core.schemas import Lineage, PageQuery
from workbench.registry import routes
from workbench.registry.schemas import Model, ModelCreate, ModelFacts, VersionUpdate
from workbench.registry.schemas import ModelVersion as Record

PAGE = 200


class UnknownModel(NotFound, KeyError):
    """There is no model of this name."""

    code = "model.not_found"

    __str__ = Exception.__str__


@dataclass(frozen=True)
class ModelVersion:
    """A handle on one model version, as it was when it was asked for."""

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

    @property
    def facts(self) -> ModelFacts | None:
        """What its config and weights say: parameters, context, attention, licence, template …"""
        return self.record.facts

    def lineage(self) -> Lineage:
        """Return what this version came from and what came from it."""
        return self.http.call(routes.lineage, version_id=self.id)

    def change(self, **changes: Any) -> ModelVersion:
        """Replace the `notes` or `aliases` and return the version with them; raises pydantic's `ValidationError`."""
        body = VersionUpdate.model_validate(changes)
        return ModelVersion(self.http, self.http.call(routes.update, body=body, version_id=self.id))

    def note(self, text: str) -> ModelVersion:
        """Replace the notes and return the version with them."""
        return self.change(notes=text)

    def alias(self, *names: str) -> ModelVersion:
        """Let more aliases point here, wherever they pointed before: `version.alias("champion")`."""
        return self.change(aliases=sorted({*self.record.aliases, *names}))

    def unalias(self, *names: str) -> ModelVersion:
        """Take aliases away from this version."""
        return self.change(aliases=sorted({*self.record.aliases} - {*names}))

    def dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return self.record.model_dump(mode="json")

    def __repr__(self) -> str:
        aliases = "".join(f" @{name}" for name in self.record.aliases)
        return f"<ModelVersion {self.name}{aliases} ({self.record.kind}) {self.id}>"

    def _repr_html_(self) -> str:
        record = self.record
        rows = {"kind": record.kind, "id": self.id, "aliases": ", ".join(record.aliases), "notes": record.notes}
        rows |= {"weights": record.weights_sha256 or "not read yet"}
        rows |= {name: str(value) for name, value in (record.facts.model_dump() if record.facts else {}).items()}
        cells = "".join(
            f"<tr><td>{name}</td><td><code>{escape(value)}</code></td></tr>"
            for name, value in rows.items()
            if value not in ("", "None")
        )
        return f"<b>{escape(self.name)}</b><table>{cells}</table>"


class Models:
    """`wb.models`: the registry; `["support"]` is a newest version, `["support@champion"]` that of an alias."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def list(self) -> Sequence[Model]:
        """Return every model with its versions, newest first."""
        return [*self]

    def version(self, version_id: str) -> ModelVersion:
        """Return one version by its id."""
        return ModelVersion(self._http, self._http.call(routes.version, version_id=version_id))

    def add(self, base: str) -> ModelVersion:
        """Register a base model: a folder on the server, or a model in its Hugging Face cache."""
        return ModelVersion(self._http, self._http.call(routes.register, body=ModelCreate(base=base)))

    def __iter__(self) -> Iterator[Model]:
        cursor: str | None = None
        while True:
            page = self._http.call(routes.listing, query=PageQuery(limit=PAGE, cursor=cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def __getitem__(self, name: str) -> ModelVersion:
        """Return a model's newest version, or that of an alias or number behind `@`; raises `UnknownModel`."""
        model, _, pointer = name.partition("@")
        versions = next((known.versions for known in self if known.name == model), [])
        wanted = [each for each in versions if not pointer or pointer in (*each.aliases, str(each.number))]
        if not wanted:
            raise UnknownModel(f"There is no model {name!r}; wb.models.list() names those that there are.")
        return ModelVersion(self._http, wanted[0])

    def _ipython_key_completions_(self) -> Sequence[str]:
        versions = [version for model in self for version in model.versions]
        aliases = [f"{version.model_name}@{alias}" for version in versions for alias in version.aliases]
        return [*dict.fromkeys(version.model_name for version in versions), *aliases]
