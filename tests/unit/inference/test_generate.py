from dataclasses import replace
from pathlib import Path

import pytest

from workbench import testing
from workbench.inference.generate import generate
from workbench.inference.load import LanguageModel, ModelInvalid, load
from workbench.inference.score import Score, score

QUESTIONS = ["Hi", "What is the capital of France?", "9 + 8 = ?", "Tell me a very long story about a small house. " * 3]


@pytest.fixture(scope="module", params=testing.FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(testing.make_model(tmp_path_factory.mktemp("model"), request.param))


def prompts(model: LanguageModel) -> list[list[int]]:
    return [model.template.prompt_ids([{"role": "user", "content": question}]) for question in QUESTIONS]


def test_an_answer_does_not_depend_on_its_batch(model: LanguageModel) -> None:
    alone = [generate(model, [prompt], 12)[0] for prompt in prompts(model)]
    assert generate(model, prompts(model), 12) == alone
    assert len({tuple(answer) for answer in alone}) > 1


def test_an_answer_ends_before_the_first_stop_token(model: LanguageModel) -> None:
    whole = generate(model, prompts(model), 12)
    stop = next(answer[3] for answer in whole if answer[3] not in answer[:3])
    stopped = replace(model, template=replace(model.template, stop_ids=(stop,)))
    expected = [answer[: answer.index(stop)] if stop in answer else answer for answer in whole]
    assert expected != whole
    assert generate(stopped, prompts(model), 12) == expected


def test_a_score_is_the_nll_of_the_completion_alone(model: LanguageModel) -> None:
    import torch

    examples = [model.template.example(question, answer) for question, answer in zip(QUESTIONS, "abcd", strict=True)]
    for example, found in zip(examples, score(model, examples), strict=True):
        ids = torch.tensor([example.input_ids])
        with torch.inference_mode():
            log_probs = model.network(ids).logits[0].log_softmax(-1)
        places = [place for place, bit in enumerate(example.completion_mask) if bit]
        expected = -sum(log_probs[place - 1, example.input_ids[place]].item() for place in places)
        assert found.tokens == len(places) == 2
        assert found.nll == pytest.approx(expected, rel=1e-4)


def test_nothing_in_nothing_out(model: LanguageModel) -> None:
    assert generate(model, [], 8) == []
    assert score(model, []) == []


def test_an_example_cut_before_its_completion_scores_nothing(model: LanguageModel) -> None:
    assert score(model, [model.template.example("a long question", "yes", max_length=4)]) == [Score(0.0, 0)]


def test_a_folder_that_is_no_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = testing.make_model(tmp_path / "model", hidden_size=32)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelInvalid, match="The model folder 'model' cannot be loaded") as caught:
        load(folder)
    assert "\n" not in caught.value.detail


def test_code_that_a_model_brings_is_not_run(tmp_path: Path) -> None:
    folder = testing.make_model(tmp_path / "model", hidden_size=32)
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    config = (folder / "config.json").read_text()
    trap = '"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}, "model_type": "evil"'
    (folder / "config.json").write_text(config.replace('"model_type": "qwen3"', trap))
    with pytest.raises(ModelInvalid):
        load(folder)
