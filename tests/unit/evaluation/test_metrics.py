"""Every metric against the library that it stands on, or a reference of its own."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_chrf
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import f1_score

from workbench.evaluation import scoring
from workbench.evaluation.metrics import ChrF, ExactMatch, Perplexity, RougeL, TokenF1, measure, token_f1, words
from workbench.evaluation.schemas import Sample

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
FEW_WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "mat"]), max_size=8).map(" ".join)


@pytest.fixture
def told(tmp_path: Path) -> dict[str, object]:
    return {"keep_in_memory": True, "cache_dir": str(tmp_path)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The CAT, sat.", ["the", "cat", "sat"]),
        ("你好，world！", ["你", "好", "world"]),
        ("カタかな", ["カ", "タ", "か", "な"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("a_b 1,5 e\u0301tude", ["a", "b", "1", "5", "e\u0301tude"]),
        ("안녕 мир", ["안녕", "мир"]),
        ("?!…", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(FEW_WORDS, FEW_WORDS)
def test_token_f1_is_the_f1_of_counts(answer: str, expected: str) -> None:
    """The bag's F1 equals scikit-learn's binary F1 over one-hot slots: the k-th occurrence of each word."""
    if not answer or not expected:
        assert token_f1(answer, expected) == float(answer == expected)
        return
    counts = CountVectorizer().fit([answer, expected]).transform([answer, expected]).toarray()
    given_slots, wanted_slots = (np.concatenate([np.arange(8) < count for count in row]).astype(int) for row in counts)
    reference = f1_score(wanted_slots, given_slots, zero_division=0)
    assert token_f1(answer, expected) == pytest.approx(reference)


@given(ASCII, ASCII)
def test_rouge_l_is_the_librarys_own_on_ascii(answer: str, expected: str) -> None:
    reference = RougeScorer(["rougeL"]).score(expected, answer)["rougeL"].fmeasure
    assert RougeL.scorer.score(expected, answer)["rougeL"].fmeasure == reference


def test_rouge_l_sees_chinese(told: dict[str, object]) -> None:
    found = RougeL(**told).compute(predictions=["我爱北京"], references=["我爱上海北京"])
    assert found["rouge_l"] == pytest.approx(2 * 4 / (4 + 6))
    assert RougeScorer(["rougeL"]).score("我爱上海北京", "我爱北京")["rougeL"].fmeasure == 0


def test_chrf_is_sacrebleus(told: dict[str, object]) -> None:
    answers, expected = ["the cat sat", "我爱北京", ""], ["the cat sits", "我爱上海", "x"]
    found = ChrF(**told).compute(predictions=answers, references=expected)
    reference = [sentence_chrf(*pair).score for pair in zip(answers, ([each] for each in expected), strict=True)]
    assert found["per_row"] == reference
    assert found["chrf"] == pytest.approx(sum(reference) / 3)
    assert reference[1] > 0


def test_exact_match_and_token_f1_are_means(told: dict[str, object]) -> None:
    texts = {"predictions": ["Paris ", "paris", "a b"], "references": ["Paris", "Paris", "b c"]}
    assert ExactMatch(**told).compute(**texts) == {"exact_match": 1 / 3, "per_row": [1.0, 0.0, 0.0]}
    assert TokenF1(**told).compute(**texts) == {"token_f1": 2.5 / 3, "per_row": [1.0, 1.0, 0.5]}


def test_perplexity_weighs_tokens(told: dict[str, object]) -> None:
    found = Perplexity(**told).compute(nll=[9 * math.log(2), math.log(8)], tokens=[9, 1])
    assert found == {"perplexity": pytest.approx(2 ** (12 / 10))}


def test_a_row_keeps_its_figures_and_they_give_the_totals(tmp_path: Path) -> None:
    pairs = [("the cat", "the cat"), ("a dog", "the dog"), ("", "x")]
    given_samples = [
        Sample(
            row_id=row,
            prompt="",
            expected=expected,
            answer=answer,
            exact_match=answer == expected,
            nll=1.0 + row,
            tokens=2,
            prompt_tokens=[],
        )
        for row, (answer, expected) in enumerate(pairs)
    ]
    measured, totals = measure(given_samples, tmp_path)
    assert [sample.token_f1 for sample in measured] == [1.0, 0.5, 0.0]
    assert totals == {
        "exact_match": scoring.exact_match(measured),
        "token_f1": scoring.mean(measured, "token_f1"),
        "rouge_l": scoring.mean(measured, "rouge_l"),
        "chrf": scoring.mean(measured, "chrf"),
        "perplexity": scoring.perplexity(measured),
    }
    assert [sample.token_f1 for sample in given_samples] == [None] * 3


def test_metrics_touch_neither_the_network_nor_the_users_folder(tmp_path: Path) -> None:
    """In a process without a network stack that works, in a home that stays empty."""
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import pathlib, sys\n"
        "from workbench.evaluation.metrics import measure\n"
        "from workbench.evaluation.schemas import Sample\n"
        "told = {'row_id': 0, 'prompt': '', 'expected': 'a', 'answer': 'a', 'exact_match': True, 'prompt_tokens': []}\n"
        "s = Sample(**told, nll=1, tokens=1)\n"
        "assert measure([s], pathlib.Path(sys.argv[1]))[1]['chrf'] == 100\n"
    )
    home, scratch = tmp_path / "user", tmp_path / "scratch"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    command = [sys.executable, "-c", code, str(scratch)]
    subprocess.run(command, env=environment | {"HOME": str(home)}, check=True, timeout=120)
    assert list(home.rglob("*")) == []
