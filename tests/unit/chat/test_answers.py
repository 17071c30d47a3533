"""What is asked and what is said: fitting conversations, stop strings, settings, OpenAI's shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from workbench.chat import prompt
from workbench.chat.answering import StopStrings
from workbench.chat.openai import CompletionRequest
from workbench.chat.schemas import ChatSettings
from workbench.inference.template import ChatTemplate
from workbench.serving import rendering
from workbench.serving.rendering import ContextExceeded
from workbench.testing import make_model


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ChatTemplate:
    return ChatTemplate.from_folder(make_model(tmp_path_factory.mktemp("chat") / "model"))


def turns(count: int) -> list[dict[str, str]]:
    made = [{"role": "system", "content": "Be short."}]
    for number in range(count):
        made += [
            {"role": "user", "content": f"Question {number}"},
            {"role": "assistant", "content": f"Answer {number}"},
        ]
    return [*made, {"role": "user", "content": "And now?"}]


def test_a_conversation_that_fits_is_asked_whole(template: ChatTemplate) -> None:
    fitted = rendering.fit(template, turns(3), 512, 64)
    assert fitted.left_out == 0
    assert fitted.prompt.ids == template.prompt_ids(turns(3))


def test_the_oldest_turns_are_left_out_in_whole_turns(template: ChatTemplate) -> None:
    fitted = rendering.fit(template, turns(30), 256, 64)
    kept = fitted.prompt.messages
    assert fitted.left_out > 0
    assert len(fitted.prompt.ids) <= 256 - 64
    assert [kept[0]["role"], kept[1]["role"]] == ["system", "user"]
    assert list(kept) == [turns(30)[0], *turns(30)[1 + fitted.left_out :]]
    assert kept[-1]["content"] == "And now?"
    one_turn_more = [turns(30)[0], *turns(30)[fitted.left_out - 1 :]]
    assert len(template.prompt_ids(one_turn_more)) > 256 - 64


def test_a_message_that_is_too_long_by_itself_is_refused(template: ChatTemplate) -> None:
    with pytest.raises(ContextExceeded, match="context_length"):
        rendering.fit(template, [{"role": "user", "content": "long " * 500}], 256, 64)
    with pytest.raises(ContextExceeded):
        rendering.whole(template, [{"role": "user", "content": "long " * 500}], 256)


@given(some.text("abc", max_size=40), some.lists(some.text("abc", min_size=1, max_size=4), max_size=4), some.data())
def test_stop_strings_cut_as_if_the_whole_text_were_known(text: str, stops: list[str], data: Any) -> None:
    cut = StopStrings(stops)
    said, over = "", False
    rest = text
    while rest and not over:
        size = data.draw(some.integers(1, len(rest)))
        piece, over = cut.take(rest[:size])
        said, rest = said + piece, rest[size:]
    said += "" if over else cut.rest()
    places = [text.find(stop) for stop in stops if stop in text]
    if not places:
        assert (said, over) == (text, False)
        return
    assert over
    # the first place at which any of them is complete
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    assert text.startswith(said)
    assert len(said) <= min(ends)
    assert not any(stop in said for stop in stops)


def test_settings_come_from_the_first_that_has_them() -> None:
    chosen = prompt.settled(ChatSettings(seed=0), ChatSettings(temperature=0.2, seed=7), ChatSettings(temperature=1.5))
    assert (chosen.seed, chosen.temperature, chosen.top_p) == (0, 0.2, None)


def test_a_models_own_defaults_are_taken_where_they_are_valid(tmp_path: Path) -> None:
    for name, content, temperature in (
        ("a", {"temperature": 0.6, "top_k": 20}, 0.6),
        ("b", {"temperature": -3}, None),
        ("c", {"temperature": 0.6, "do_sample": False}, None),
        ("d", {"temperature": "hot"}, None),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "generation_config.json").write_text(json.dumps(content))
        assert prompt.defaults_of(tmp_path / name).temperature == temperature
    assert prompt.defaults_of(tmp_path) == ChatSettings()


def test_an_answer_gets_no_more_than_what_is_left_of_the_context() -> None:
    assert prompt.sampling(ChatSettings(max_tokens=500), 100).max_tokens == 100
    assert prompt.sampling(ChatSettings(), 5000).max_tokens == 1024
    assert prompt.sampling(ChatSettings(temperature=0.0), 10).temperature == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("top_p", 0),
        ("top_p", 1.1),
        ("max_tokens", 0),
        ("n", 2),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", ""),
        ("presence_penalty", 3),
        ("seed", -1),
        ("tools", []),
        ("logprobs", True),
        ("response_format", {"type": "json_object"}),
        ("logit_bias", {"1": 1}),
        ("messages", []),
        ("messages", [{"role": "tool", "content": "x"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
    ],
)
def test_what_is_not_served_is_refused_by_name(field: str, value: Any) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | {field: value}
    with pytest.raises(ValidationError) as caught:
        CompletionRequest.model_validate(request)
    assert field in [error["loc"][0] for error in caught.value.errors()]


def test_openais_shapes_become_ours() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    request = CompletionRequest.model_validate(
        {"model": "m", "messages": messages, "max_completion_tokens": 5, "stop": "x", "user": "me"}
    )
    assert [message.plain() for message in request.messages] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "ab"},
    ]
    assert request.settings() == ChatSettings(max_tokens=5, stop=["x"])
    with pytest.raises(ValidationError, match="mean the same"):
        CompletionRequest.model_validate(
            {"model": "m", "messages": messages, "max_tokens": 5, "max_completion_tokens": 5}
        )
