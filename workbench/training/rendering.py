"""Rows as a base model would see them, as a researcher holds them in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from workbench.training.schemas import Preview, PreviewRow

TRAINED = "background:rgba(46,125,50,.18);border-bottom:2px solid var(--jp-success-color1,#2e7d32)"
TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;font-family:var(--jp-code-font-family,monospace);margin:0 0 10px"


@dataclass(frozen=True)
class RenderedRows:
    """Shows itself with the trained tokens marked: underlined and coloured in a notebook, in brackets elsewhere."""

    preview: Preview

    def __len__(self) -> int:
        return len(self.preview.items)

    def __getitem__(self, place: int) -> PreviewRow:
        return self.preview.items[place]

    def __repr__(self) -> str:
        return "\n".join("".join(_bracketed(row)) for row in self.preview.items)

    def _repr_html_(self) -> str:
        return "".join(f'<pre style="{TEXT}">{_marked(row)}</pre>' for row in self.preview.items)


def _bracketed(row: PreviewRow) -> list[str]:
    return [f"⟦{span.text}⟧" if span.trained else span.text for span in row.spans]


def _marked(row: PreviewRow) -> str:
    return "".join(
        f'<span style="{TRAINED}">{escape(span.text)}</span>' if span.trained else escape(span.text)
        for span in row.spans
    )
