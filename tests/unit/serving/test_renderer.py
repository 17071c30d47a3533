"""Prompts are rendered beside their engine; a template that never ends is broken off."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from workbench.inference.template import ChatTemplate
from workbench.serving import gateway, renderer
from workbench.serving.engines import Engine
from workbench.serving.gateway import NotRendered
from workbench.serving.process import RendererProcess
from workbench.serving.rendering import Fitted
from workbench.testing import make_model

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
ASKED = [{"role": "user", "content": "Hi"}]


def ask(folder: Path, work: Path, text: str = "Hi") -> Fitted:
    with (work / "log").open("ab") as log:
        process = RendererProcess(work, folder, log)
        try:
            process.wait()
            engine = Engine("llama.cpp", Path("none"), "key", "model", process.socket, process.key)
            messages = [{"role": "user", "content": text}]
            return asyncio.run(gateway.render(engine, messages, 512, max_tokens=None, whole=True))
        finally:
            process.stop()


def test_the_prompt_is_the_trained_one(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    assert ask(folder, tmp_path).prompt.ids == ChatTemplate.from_folder(folder).prompt_ids(ASKED)


def test_what_does_not_fit_is_told_with_its_code(tmp_path: Path) -> None:
    with pytest.raises(NotRendered) as caught:
        ask(make_model(tmp_path / "model"), tmp_path, "long " * 1000)
    assert caught.value.problem().code == "context_length_exceeded"


def test_a_template_that_never_ends_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "chat_template.jinja").write_text(ENDLESS)
    monkeypatch.setattr(renderer, "SECONDS", 0.2)
    asked = {"messages": ASKED, "context_length": 512, "max_tokens": None, "whole": True}
    with pytest.raises(Exception, match="takes longer"), renderer.limited():
        renderer.rendered(ChatTemplate.from_folder(folder), asked)
