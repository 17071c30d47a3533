"""An evaluation as one file to hand on: a self-contained HTML page, a CSV of the rows, or JSON of everything."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.core.routes import Download
from workbench.evaluation.samples import change
from workbench.evaluation.schemas import (
    Answer,
    Comparison,
    Evaluation,
    Metric,
    MetricComparison,
    ModelScore,
    RowFilter,
    SampleRow,
)
from workbench.registry.schemas import ModelVersion

Format = Literal["html", "csv", "json"]
SHOWN_ROWS = 1_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
GROUPS: dict[RowFilter, str] = {
    "gained": "Now right",
    "lost": "Now wrong",
    "both": "Both right",
    "neither": "Both wrong",
}
LABELS: dict[Metric, str] = {
    "exact_match": "Exact match ↑",
    "token_f1": "Token F1 ↑",
    "rouge_l": "ROUGE-L ↑",
    "chrf": "chrF ↑",
    "perplexity": "Perplexity ↓",
}
ROLES = {"base": "Base", "tuned": "Tuned"}
MARKS = {"better": "▲ better", "worse": "▼ worse", "noise": "≈ noise"}
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --quiet: #59636e; --paper: #fff; --shade: #f3f4f6; --line: #d5d9de;
  --good: #2e7d32; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --quiet: #a3abb3; --paper: #16191d; --shade: #22272d;
  --line: #3d444d; --good: #66bb6a; --bad: #ef5350; } }
* { box-sizing: border-box; }
body { max-width: 70rem; margin: 0 auto; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; } h2 { margin-top: 2rem; font-size: 1.15rem; }
.verdict { padding: .6rem 1rem; border-left: 5px solid var(--quiet); background: var(--shade); font-weight: 600; }
.better { border-color: var(--good); } .worse { border-color: var(--bad); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.facts td { overflow-wrap: anywhere; } .quiet { color: var(--quiet); }
summary { padding: .4rem 0; cursor: pointer; font-weight: 600; }
article { margin: .5rem 0; padding: .6rem 1rem; border: 1px solid var(--line); border-radius: 4px;
  break-inside: avoid; }
article h3 { margin: .4rem 0 0; color: var(--quiet); font-size: .8rem; }
article p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem; margin-top: .5rem; }
.side { min-width: 0; padding: .1rem .8rem .4rem; border-left: 4px solid var(--bad); background: var(--shade); }
.right { border-color: var(--good); }
@media (max-width: 480px) { .sides { grid-template-columns: 1fr; } th, td { padding-right: .5rem; }
  .figures { font-size: .8rem; } }
@media print { body { max-width: none; } }
"""


@dataclass(frozen=True)
class Report:
    """What a report is about."""

    evaluation: Evaluation
    #: In the order of the evaluation's scores.
    models: Sequence[ModelVersion]
    rows: Sequence[SampleRow]


def write(report: Report, form: Format) -> Download:
    """Write a report in one of its forms."""
    writer, content_type = {
        "html": (as_html, "text/html; charset=utf-8"),
        "csv": (as_csv, "text/csv; charset=utf-8"),
        "json": (as_json, "application/json"),
    }[form]
    content = writer(report).encode("utf-8", "replace")
    return Download(f"{report.evaluation.id}.{form}", content_type, content)


def as_json(report: Report) -> str:
    """Return the evaluation, its models and all rows."""
    whole = {
        "evaluation": report.evaluation.model_dump(mode="json"),
        "models": [model.model_dump(mode="json") for model in report.models],
        "rows": [row.model_dump(mode="json") for row in report.rows],
    }
    return json.dumps(whole, ensure_ascii=False, indent=1)


def as_csv(report: Report) -> str:
    """Return one line a row and model.

    Spreadsheets run a cell that begins with one of `FORMULA_STARTS`, so such a text gets an apostrophe before it.
    """
    target = io.StringIO()
    lines = csv.writer(target)
    figures = ("exact_match", "token_f1", "rouge_l", "chrf", "nll", "tokens")
    lines.writerow(["row_id", "role", "version_id", "prompt", "expected", "answer", *figures])
    for row in report.rows:
        for answer in row.answers:
            texts = [defused(text) for text in (row.prompt, row.expected, answer.answer)]
            lines.writerow(
                [row.row_id, answer.role, answer.version_id, *texts, *(getattr(answer, name) for name in figures)]
            )
    return target.getvalue()


def defused(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def as_html(report: Report) -> str:
    """Return a page that needs nothing else and runs nothing: no script, every text escaped."""
    evaluation = report.evaluation
    title = f"{evaluation.model} beside {evaluation.baseline}" if evaluation.baseline else evaluation.model
    made = f"{evaluation.created_at:%Y-%m-%d %H:%M} UTC"
    body = [
        f"<h1>{_safe(title)}</h1>",
        f'<p class="quiet">{_safe(evaluation.dataset)}, {_safe(evaluation.data.split)} rows · {made}</p>',
        *_verdict(evaluation.comparison),
        "<h2>Metrics</h2>",
        _metrics(evaluation),
        "<h2>Rows</h2>",
        *_rows(report.rows),
        "<h2>What it stands on</h2>",
        *_origin(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _safe(text: object) -> str:
    return html.escape(str(text), quote=True)


def _verdict(comparison: Comparison | None) -> Iterable[str]:
    if comparison is not None:
        yield f'<p class="verdict {comparison.verdict}">{_safe(comparison.sentence)}</p>'
        if comparison.resamples:
            yield (
                f'<p class="quiet">Intervals: 95 %, paired bootstrap, {comparison.resamples:,} resamples of'
                f" {comparison.rows:,} rows, seed {comparison.seed}. Decided by {_safe(LABELS[comparison.primary])}</p>"
            )


def _metrics(evaluation: Evaluation) -> str:
    sides = {score.role: score for score in evaluation.scores}
    compared = {each.metric: each for each in evaluation.comparison.metrics} if evaluation.comparison else {}
    roles = [role for role in ROLES if role in sides]
    head = ["Metric", *(ROLES[role] for role in roles), *(["Difference", "Verdict"] if compared else [])]
    lines = []
    for name, label in LABELS.items():
        values = [getattr(sides[role], name) for role in roles]
        if None in values:
            continue
        cells = [label, *(f"{value:.3f}" for value in values)]
        found = compared.get(name)
        lines.append(
            cells
            + ([difference(found), MARKS[found.verdict]] if found is not None else [""] * (len(head) - len(cells)))
        )
    return _table("figures", head, lines)


def difference(found: MetricComparison) -> str:
    """Return a difference with its interval; for perplexity the factor."""
    values = (found.difference, found.low, found.high)
    if found.metric == "perplexity":
        factor, low, high = (math.exp(min(value, 700)) for value in values)
        return f"× {factor:.3g} ({low:.3g} to {high:.3g})"
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*values)


def _table(kind: str, head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    top = "".join(f'<th scope="col">{_safe(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{_safe(line[0])}</th>' + "".join(f"<td>{_safe(cell)}</td>" for cell in line[1:]) + "</tr>"
        for line in lines
    )
    return f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _rows(rows: Sequence[SampleRow]) -> Iterable[str]:
    left_out = len(rows) - SHOWN_ROWS
    if left_out > 0:
        yield f"<p>The first {SHOWN_ROWS:,} of {len(rows):,} rows; the other {left_out:,} are in the CSV.</p>"
    groups: dict[RowFilter, list[SampleRow]] = {name: [] for name in GROUPS}
    for row in rows[:SHOWN_ROWS]:
        groups[change(row)].append(row)
    for name, label in GROUPS.items():
        opened = " open" if name in ("gained", "lost") and groups[name] else ""
        cards = "".join(_card(row) for row in groups[name])
        yield f"<details{opened}><summary>{label} ({len(groups[name]):,})</summary>{cards}</details>"


def _card(row: SampleRow) -> str:
    sides = "".join(_side(answer) for answer in row.answers)
    return (
        f"<article><h3>Row {row.row_id} · prompt</h3><p>{_safe(row.prompt)}</p><h3>Expected</h3>"
        f'<p>{_safe(row.expected)}</p><div class="sides">{sides}</div></article>\n'
    )


def _side(answer: Answer) -> str:
    right = ("right", "✓ right") if answer.exact_match else ("", "✕ wrong")
    graded = "" if answer.token_f1 is None else f" · F1 {answer.token_f1:.2f}"
    heading = f"<h3>{ROLES[answer.role]} · {right[1]}{graded}</h3>"
    return f'<div class="side {right[0]}">{heading}<p>{_safe(answer.answer)}</p></div>'


def _origin(report: Report) -> Iterable[str]:
    evaluation = report.evaluation
    head = ["", *(ROLES[score.role] for score in evaluation.scores)]
    yield _table("facts", head, _lineage(evaluation.scores, report.models))
    settings = {name: value for name, value in evaluation.settings.items() if name != "environment"}
    facts = {
        "Evaluation": evaluation.id,
        "Job": evaluation.job_id,
        "Dataset": f"{evaluation.dataset} ({evaluation.data.version_id}), {evaluation.data.split}",
        "Settings": ", ".join(f"{name} = {value}" for name, value in settings.items()),
    }
    environment = dict(evaluation.settings.get("environment", {}))
    packages = environment.pop("packages", {})
    facts |= {name.replace("_", " ").capitalize(): str(value) for name, value in environment.items()}
    facts["Packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    yield _table("facts", ["", ""], facts.items())


def _lineage(scores: Sequence[ModelScore], models: Sequence[ModelVersion]) -> Iterable[Sequence[object]]:
    facts = {
        "Model": [f"{model.model_name} v{model.number} ({model.kind})" for model in models],
        "Version": [model.id for model in models],
        "Made by run": [model.job_id or "—" for model in models],
        "Trained from": [model.parent_id or "—" for model in models],
        "Weights, SHA-256": [score.weights_sha256 for score in scores],
        "Template, SHA-256": [f"{score.template.sha256} ({score.template.source})" for score in scores],
        "Tokenizer, SHA-256": [score.template.tokenizer_sha256 for score in scores],
        "Samples, SHA-256": [score.samples_sha256 for score in scores],
    }
    return [(name, *values) for name, values in facts.items()]
