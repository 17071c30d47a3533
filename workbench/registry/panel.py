"""The models panel: every version with its facts, notes and aliases, and its lineage drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from pydantic import ValidationError

from workbench.core.errors import Invalid, invalid_input
from workbench.core.schemas import Ref
from workbench.core.texts import Language, preferred_language, text
from workbench.core.widgets.fact_sheet import FactSheet
from workbench.core.widgets.form import Form, Values
from workbench.core.widgets.heading import Heading
from workbench.core.widgets.lineage_view import LineageView
from workbench.core.widgets.listing import Listing, Row
from workbench.registry.client import Models, ModelVersion
from workbench.registry.schemas import ModelFacts
from workbench.registry.schemas import ModelVersion as Record

#: Returns widgets that show what a version was trained on.
ShowRows = Callable[[ModelVersion], Sequence[ipywidgets.DOMWidget]]
SPEC_FIELDS = ("method", "adapter", "epochs", "max_steps", "learning_rate", "batch_size", "seed")
UNITS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3))


class ModelsPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Lists model versions, newest first, and shows the chosen one; `rows` adds what it was trained on."""

    def __init__(
        self,
        models: Models,
        *,
        rows: ShowRows | None = None,
        can_write: bool = True,
        language: Language | None = None,
    ) -> None:
        self.language = language or preferred_language()
        self._models = models
        self._rows = rows
        self._can_write = can_write
        self._known: dict[str, Record] = {}
        self.heading = Heading(self.language, title=self._text("title"))
        self.adding = Form(self._base_field(), self._add, action=self._text("add"), language=self.language)
        self.listing = Listing(
            self._text("title"), self._columns(), self._show, empty=self._text("empty"), language=self.language
        )
        self.chosen = Heading(self.language)
        self.facts = FactSheet(self.language)
        self.editing = Form(self._own_fields(), self._edit, action=self._text("save"), language=self.language)
        self.lineage = LineageView(self._follow, language=self.language)
        super().__init__([self.heading, self.listing])
        self.add_class("wb-panel")
        self.refresh()

    def refresh(self) -> None:
        """Ask the server which models there are; the newest version is shown unless one was chosen."""
        versions = sorted((v for model in self._models for v in model.versions), key=lambda v: v.id, reverse=True)
        self._known = {version.id: version for version in versions}
        self.listing.offer([self._row(version) for version in versions])
        if not versions:
            self.children = self._top()
        elif self.listing.value in self._known:
            self._show(self.listing.value)
        else:
            self.listing.value = versions[0].id

    def _show(self, version_id: str) -> None:
        version = self._models.version(version_id)
        record = version.record
        self.chosen.title = version.name
        self.facts.facts = self._sheet(record)
        self.editing.values = {"aliases": ", ".join(record.aliases), "notes": record.notes}
        self.editing.errors, self.editing.notice = {}, ""
        self.lineage.show(version.lineage())
        rows = self._rows(version) if self._rows is not None else []
        editing = [self.editing] if self._can_write else []
        self.children = [*self._top(), self.chosen, self.facts, *editing, self.lineage, *rows]

    def _top(self) -> list[ipywidgets.DOMWidget]:
        adding = [self.adding] if self._can_write else []
        return [self.heading, *adding, self.listing]

    def _add(self, values: Values) -> None:
        if not values["base"].strip():
            raise Invalid(self._text("base_missing"))
        version = self._models.add(values["base"].strip())
        self.adding.values = {"base": ""}
        self.refresh()
        self.listing.value = version.id

    def _edit(self, values: Values) -> None:
        aliases = [name.strip() for name in values["aliases"].replace("，", ",").split(",") if name.strip()]
        version = self._models.version(self.listing.value)
        try:
            version.change(notes=values["notes"], aliases=aliases)
        except ValidationError as error:
            raise invalid_input(error, self._text("title")) from error
        self.refresh()

    def _follow(self, ref: Ref) -> None:
        """Go to the model version that was chosen in the lineage."""
        if ref.kind == "model_version" and ref.id in self._known:
            self.listing.value = ref.id

    def _columns(self) -> list[dict[str, object]]:
        return [
            {"key": "name", "label": self._text("model")},
            {"key": "aliases", "label": self._text("aliases")},
            {"key": "kind", "label": self._text("kind"), "minor": True},
            {"key": "parameters", "label": self._text("parameters"), "number": True, "minor": True},
            {"key": "author", "label": self._text("author"), "minor": True},
            {"key": "created_at", "label": self._text("created"), "time": True, "minor": True},
        ]

    def _row(self, version: Record) -> Row:
        return {
            "id": version.id,
            "name": f"{version.model_name} v{version.number}",
            "aliases": ", ".join(version.aliases),
            "kind": self._text("base_kind" if version.kind == "base" else "tuned"),
            "parameters": amount(version.facts.parameters) if version.facts is not None else "",
            "author": version.author_name,
            "created_at": version.created_at.isoformat(),
        }

    def _sheet(self, record: Record) -> list[tuple[str, str, bool]]:
        training = record.record.get("training", {})
        own = {
            "id": record.id,
            "weights": record.weights_sha256 or self._text("unread"),
            "job": record.job_id,
            "template_hash": record.record.get("template", {}).get("sha256"),
        }
        facts = self._described(record.facts) if record.facts is not None else {}
        spec = {name: training.get(name) for name in SPEC_FIELDS}
        rows = {"rows_used": record.record.get("rows_used")}
        words = {name: str(value) for name, value in {**facts, **spec, **rows}.items() if value is not None}
        codes = {name: str(value) for name, value in own.items() if value is not None}
        return [(self._text(name), value, False) for name, value in words.items()] + [
            (self._text(name), value, True) for name, value in codes.items()
        ]

    def _described(self, facts: ModelFacts) -> dict[str, Any]:
        return facts.model_dump() | {
            "parameters": f"{facts.parameters:,}",
            "size_bytes": f"{amount(facts.size_bytes)}B",
            "context_length": f"{facts.context_length:,}" if facts.context_length is not None else None,
            "tied_embeddings": self._text("yes" if facts.tied_embeddings else "no"),
        }

    def _base_field(self) -> list[dict[str, Any]]:
        label, help_text = self._text("base"), text("train.base_help", self.language)
        return [{"name": "base", "label": label, "kind": "text", "wide": True, "help": help_text}]

    def _own_fields(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "label": self._text(name), "kind": "text", "wide": True, "help": help_text}
            for name, help_text in (("aliases", self._text("aliases_help")), ("notes", ""))
        ]

    def _text(self, key: str) -> str:
        return text(f"models.{key}", self.language)


def amount(number: int) -> str:
    """Shorten a large number: 596,049,920 is 596M."""
    unit, size = next(((unit, size) for unit, size in UNITS if number >= size), ("", 1.0))
    return f"{number / size:.3g}{unit}"
