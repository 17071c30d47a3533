"""How datasets and rows look in a notebook: plain HTML in the colours of the theme, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from workbench.datasets.schemas import Dataset, Row

SHOWN_CHARACTERS = 300
MUTED = "color:var(--jp-ui-font-color2,#616161)"
TABLE = "border-collapse:collapse;width:100%;table-layout:fixed;color:var(--jp-ui-font-color1,#212121)"
CELL = (
    "text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere;padding:4px 8px;"
    "border-bottom:1px solid var(--jp-border-color2,#e0e0e0)"
)
CARD = (
    "padding:8px 12px;border:1px solid var(--jp-border-color2,#e0e0e0);border-radius:4px;"
    "background:var(--jp-layout-color1,#fff);color:var(--jp-ui-font-color1,#212121)"
)
WIDTHS = {"row": "5em", "split": "4em", "prompt": "auto", "completion": "auto"}


def dataset_card(dataset: Dataset, rows: Sequence[Row]) -> str:
    """Return a card with what a dataset holds and its first rows."""
    head = dataset.head
    noun = "row" if head.rows == 1 else "rows"
    facts = (
        f"version {head.number} · {head.rows:,} {noun} ({head.train_rows:,} train, {head.test_rows:,} test) · "
        f"{head.author_name}, {head.created_at:%Y-%m-%d %H:%M} UTC · content {head.content_hash[:12]}"
    )
    message = f"<div>{escape(head.message)}</div>" if head.message else ""
    return (
        f'<div style="{CARD}"><strong>{escape(dataset.name)}</strong> <span style="{MUTED}">{escape(facts)}</span>'
        f'{message}<div style="{MUTED}">{escape(head.reading)}</div>{rows_table(rows)}</div>'
    )


def rows_table(rows: Sequence[Row]) -> str:
    """Return rows as a table; long texts are cut."""
    header = "".join(f'<th style="{CELL};width:{width}">{name}</th>' for name, width in WIDTHS.items())
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f'<table style="{TABLE}"><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>'


def shorten(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Cut a text for display."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cells(row: Row) -> str:
    texts = (str(row.row_id), row.split, shorten(row.prompt), shorten(row.completion))
    return "".join(f'<td style="{CELL}">{escape(text)}</td>' for text in texts)
