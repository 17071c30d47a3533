from __future__ import annotations

from pathlib import Path

import pytest

from workbench import testing
from workbench.core.errors import RemoteError
from workbench.datasets.conversation import Conversation
from workbench.datasets.materialise import materialise
from workbench.inference.template import ChatTemplate
from workbench.training.bounded import BaseModelUnusable
from workbench.training.preview import Question, preview, render
from workbench.training.rendering import RenderedRows
from workbench.training.schemas import Preview

ROWS = [{"prompt": f"What is {n}?", "completion": "你好 🌍" if n == 1 else f"It is {n}."} for n in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return testing.make_model(tmp_path_factory.mktemp("model") / "tiny", hidden_size=32)


def ask(model: Path, home: Path, offset: int = 0, limit: int = 2, max_length: int = 64) -> Preview:
    rows = materialise(home, testing.store_rows(home, ROWS))
    return preview(Question(model=model, rows=rows, offset=offset, limit=limit, max_length=max_length), total=4)


def test_rows_are_shown_as_the_model_sees_them(model: Path, tmp_path: Path) -> None:
    found = ask(model, tmp_path, offset=1)
    assert [row.row_id for row in found.items] == [1, 2]
    assert (found.total, found.template) == (4, "chat_template.jinja")
    spans = [(span.text, span.trained) for span in found.items[0].spans]
    assert spans == [
        ("<|im_start|>user\nWhat is 1?<|im_end|>\n<|im_start|>assistant\n", False),
        ("你好 🌍<|im_end|>", True),
    ]


def test_what_is_cut_is_counted(model: Path) -> None:
    template = ChatTemplate.from_folder(model)
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "yes " * 50}]
    whole = render(template, 7, Conversation(turns), 1024)
    cut = render(template, 7, Conversation(turns), 20)
    assert (cut.tokens, cut.cut_tokens, cut.row_id) == (20, whole.tokens - 20, 7)
    assert cut.trained_tokens < whole.trained_tokens


def test_a_plain_text_is_trained_whole(model: Path) -> None:
    row = render(ChatTemplate.from_folder(model), 0, Conversation([], text="Once"), 64)
    assert [(span.text, span.trained) for span in row.spans] == [("Once<|im_end|>", True)]


def test_a_template_that_refuses_is_said_in_words(model: Path, tmp_path: Path) -> None:
    (hostile := tmp_path / "hostile").mkdir()
    for file in model.iterdir():
        (hostile / file.name).write_bytes(file.read_bytes())
    (hostile / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(RemoteError, match="refused the messages"):
        ask(hostile, tmp_path)
    (hostile / "chat_template.jinja").write_text("{{ 'x' * 10 ** 10 }}")
    with pytest.raises(BaseModelUnusable, match="cannot be used"):
        ask(hostile, tmp_path)


def test_a_notebook_shows_markup_as_text(model: Path) -> None:
    turns = [{"role": "user", "content": "<script>alert(1)</script>"}, {"role": "assistant", "content": "<b>no</b>"}]
    row = render(ChatTemplate.from_folder(model), 0, Conversation(turns), 64)
    shown = RenderedRows(Preview(items=[row], total=1, template="plain"))
    assert "<script>" not in shown._repr_html_()
    assert "⟦<b>no</b><|im_end|>⟧" in repr(shown)
    assert (len(shown), shown[0].row_id) == (1, 0)
