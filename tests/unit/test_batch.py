from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from workbench import batch
from workbench.cli import app, joined, pair
from workbench.jobs import signature
from workbench.training.schemas import TrainingSpec


def test_a_parameter_is_two_words_as_papermill_takes_them() -> None:
    words = ["batch", "x.ipynb", "-p", "base", "-p", "--parameter", "rate", "1e-3", "-p", "a=b", "--json"]
    assert joined(words) == ["batch", "x.ipynb", "-p", "base=-p", "--parameter", "rate=1e-3", "-p", "a=b", "--json"]
    assert joined(["-p", "base", "x=y"]) == ["-p", "base=x=y"]
    assert pair("base=x=y") == ("base", "x=y")
    assert joined(["-p"]) == ["-p"]


def test_a_parameter_without_a_value_is_refused() -> None:
    assert CliRunner().invoke(app, joined(["batch", "x.ipynb", "-p", "base"])).exit_code == 2
    assert CliRunner().invoke(app, ["batch"]).exit_code == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"cells": 3}', b"\xff", b'{"cells": ["\\ud800"]}'])
def test_what_is_no_notebook_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    for wrong in (path, tmp_path / "absent.ipynb", tmp_path):
        with pytest.raises(batch.UnreadableNotebook, match=str(wrong)):
            batch.read(wrong)


def test_a_parameter_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    template = batch.templates() / "finetune.ipynb"
    with pytest.raises(batch.BadOption):
        batch.run(template, [("seed", "1"), ("seed", "2")], None, wait=True, as_json=False)


def test_the_list_shows_every_template_with_its_parameters() -> None:
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    batch.listing(console)
    console.file.close()
    shown = console.export_text()
    assert "finetune.ipynb" in shown
    assert "evaluate.ipynb" in shown
    assert "optimizer steps; instead of epochs" in shown


@pytest.mark.parametrize("path", sorted(batch.templates().glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_template_explains_each_parameter_and_ends_with_its_result(path: Path) -> None:
    content = json.loads(path.read_text())
    found = signature.parameters(content)
    assert all(one.types and one.help for one in found)
    assert content["cells"][-1]["metadata"]["tags"] == [signature.RESULT]
    assert all(cell.get("outputs", []) == [] for cell in content["cells"])


def test_the_defaults_of_the_template_are_those_of_a_run() -> None:
    content = batch.read(batch.templates() / "finetune.ipynb")
    for one in signature.parameters(content):
        field = TrainingSpec.model_fields.get(one.name)
        if field is not None and not field.is_required():
            assert one.default == repr(field.default), one.name
