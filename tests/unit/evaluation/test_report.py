"""The report: what it says, and that nothing in it runs, whatever the rows hold."""

import csv
import io
import json
import os
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from workbench.datasets.schemas import SplitRef
from workbench.evaluation.compare import compare
from workbench.evaluation.report import FORMULA_STARTS, SHOWN_ROWS, Report, defused, write
from workbench.evaluation.schemas import Answer, Evaluation, ModelScore, Role, Sample, SampleRow, TemplateRecord
from workbench.registry.schemas import ModelVersion

HOSTILE = [
    "<script>document.title='hit'</script>",
    "</p></article></details><script>document.title='hit'</script>",
    "<img src=x onerror=\"document.title='hit'\">",
    "<svg onload=\"document.title='hit'\"></svg>",
    "<svg><script xlink:href='http://127.0.0.1:9/x.js'></script></svg>",
    "</style><script>document.title='hit'</script>",
    "<style>@import url(http://127.0.0.1:9/x.css); body { display: none }</style>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<iframe srcdoc=\"<script>parent.document.title='hit'</script>\"></iframe>",
    "<iframe src=\"javascript:alert('hit')\"></iframe>",
    "<a href=\"javascript:alert('hit')\">click</a>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button autofocus onfocus=alert('hit')>x</button></form>",
    "<!-- --><script>document.title='hit'</script><!--",
    "]]><script>alert('hit')</script>",
    "${alert('hit')} {{alert('hit')}} `alert('hit')`",
    "\" autofocus onfocus=alert('hit') x=\"",
    "' onmouseover='alert(1)",
    "&lt;script&gt;alert('hit')&lt;/script&gt;",
    "\u202e\u2066right to left\u2069 \ufeff\u200b\x00\x1b[31m",
    "<details ontoggle=alert('hit') open><video><source onerror=alert('hit')></video>",
]


def score(role: Role) -> ModelScore:
    return ModelScore(
        version_id=f"mv_{role}",
        role=role,
        rows=2,
        exact_match=0.5,
        perplexity=2.0,
        tokens=9,
        seconds=1.0,
        weights_sha256=f"weights-of-{role}",
        template=TemplateRecord(source="plain", sha256="template", tokenizer_sha256="tokenizer"),
        samples_path="x",
        samples_sha256="samples",
    )


def model(role: Role) -> ModelVersion:
    return ModelVersion(
        id=f"mv_{role}",
        model_id="mdl_1",
        model_name=HOSTILE[0],
        number=1,
        kind="tuned",
        path="p",
        facts=None,
        notes="",
        aliases=[],
        weights_sha256=None,
        parent_id="mv_parent",
        job_id="job_run",
        author_name="Ada",
        created_at=datetime(2026, 11, 24, tzinfo=UTC),
        record={},
    )


def report(texts: list[str]) -> Report:
    rows = [
        SampleRow(
            row_id=number,
            prompt=text,
            expected=text,
            answers=[
                Answer(role="base", version_id="mv_base", answer=text, exact_match=False, nll=1, tokens=1),
                Answer(role="tuned", version_id="mv_tuned", answer=text, exact_match=number % 2 == 0, nll=1, tokens=1),
            ],
        )
        for number, text in enumerate(texts)
    ]
    sides = [
        [
            Sample(row_id=row, prompt="", expected="", answer="", exact_match=hit, nll=1, tokens=1, prompt_tokens=[])
            for row, hit in enumerate(hits)
        ]
        for hits in ([True] * 9, [False] * 9)
    ]
    evaluation = Evaluation(
        id="ev_1",
        job_id="job_1",
        model=HOSTILE[0],
        baseline=HOSTILE[2],
        dataset=HOSTILE[5],
        data=SplitRef(version_id="dsv_1", split="test"),
        settings={"seed": 3, "limit": HOSTILE[1], "environment": {"python": "3.11", "packages": {"torch": "2.13"}}},
        scores=[score("base"), score("tuned")],
        comparison=compare(*sides, resamples=100),
        created_at=datetime(2026, 11, 24, tzinfo=UTC),
    )
    return Report(evaluation, [model("base"), model("tuned")], rows)


class Tags(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_holds_no_element_of_a_rows() -> None:
    tags = Tags(write(report(HOSTILE), "html").content.decode())
    assert not tags.found & {"script", "img", "svg", "iframe", "link", "base", "form", "a", "video", "button"}
    assert tags.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "scope", "open"}


def test_the_page_says_what_it_stands_on() -> None:
    page = write(report(["Hello"]), "html").content.decode()
    for fact in ("mv_tuned", "mv_parent", "job_run", "weights-of-base", "dsv_1", "seed = 3", "torch 2.13", "template"):
        assert fact in page
    assert "The tuned model is better than its base" in page
    assert "+1.000 (+1.000 to +1.000)" in page


def test_a_long_page_says_how_many_rows_it_leaves_out() -> None:
    page = write(report(["row"] * (SHOWN_ROWS + 7)), "html").content.decode()
    assert "The first 1,000 of 1,007 rows; the other 7 are in the CSV." in page
    assert page.count("<article>") == SHOWN_ROWS


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_no_cell_of_the_csv_is_a_formula(start: str) -> None:
    text = f"{start}cmd|'/c calc'!A1"
    line = list(csv.DictReader(io.StringIO(write(report([text]), "csv").content.decode(), newline="")))[1]
    assert line["answer"] == line["prompt"] == f"'{text}"
    assert (line["role"], line["exact_match"]) == ("tuned", "True")
    assert defused("1+1") == "1+1"


def test_the_json_holds_every_row_as_it_is() -> None:
    found = json.loads(write(report(HOSTILE), "json").content)
    assert [row["prompt"] for row in found["rows"]] == HOSTILE
    assert found["evaluation"]["comparison"]["metrics"][0]["metric"] == "exact_match"


@pytest.mark.browser
def test_a_hostile_report_runs_nothing(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("Chromium is not installed")
    path = tmp_path / "report.html"
    path.write_bytes(write(report(HOSTILE), "html").content)
    happened: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("dialog", lambda dialog: (happened.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: happened.append(request.url))
        page.on("console", lambda message: happened.append(message.text))
        page.goto(path.as_uri())
        for summary in page.locator("summary").all():
            summary.click()
            summary.click()
        page.locator("details").evaluate_all("all => all.forEach((each) => (each.open = true))")
        page.wait_for_timeout(200)
        shown = page.locator("article p").all_inner_texts()
        title, scripts = page.title(), page.locator("script").count()
        browser.close()
    assert happened == [path.as_uri()]
    assert (title, scripts) == (f"{HOSTILE[0]} beside {HOSTILE[2]}", 0)
    assert HOSTILE[1] in shown
