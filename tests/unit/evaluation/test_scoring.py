import math

import pytest

from workbench.evaluation.schemas import Sample
from workbench.evaluation.scoring import NotFinite, exact_match, is_exact_match, perplexity


def sample(nll: float = 1.0, tokens: int = 1, hit: bool = True) -> Sample:
    return Sample(
        row_id=0, prompt="p", expected="e", answer="a", exact_match=hit, nll=nll, tokens=tokens, prompt_tokens=[1]
    )


@pytest.mark.parametrize(
    ("answer", "expected", "match"),
    [
        ("Paris", "Paris", True),
        ("  Paris\n", "Paris", True),
        ("Paris", " Paris ", True),
        ("paris", "Paris", False),
        ("Paris.", "Paris", False),
        ("New  York", "New York", False),
        ("", "", True),
        ("12", "1", False),
    ],
)
def test_only_white_space_at_the_ends_is_forgiven(answer: str, expected: str, match: bool) -> None:
    assert is_exact_match(answer, expected) is match


def test_exact_match_is_a_share() -> None:
    assert exact_match([sample(hit=True), sample(hit=False), sample(hit=False), sample(hit=True)]) == 0.5
    assert exact_match([]) == 0.0


def test_perplexity_weighs_tokens_not_rows() -> None:
    assert perplexity([sample(nll=9 * math.log(2), tokens=9), sample(nll=math.log(8), tokens=1)]) == pytest.approx(
        2 ** (12 / 10)
    )
    assert perplexity([sample(nll=0.0, tokens=3)]) == 1.0


@pytest.mark.parametrize("nll", [math.nan, math.inf, 1e6])
def test_a_broken_model_has_no_perplexity(nll: float) -> None:
    with pytest.raises(NotFinite, match="weights are broken"):
        perplexity([sample(nll=nll)])
