"""How surprised a model is by an expected answer: the negative log-likelihood of the completion's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from workbench.inference.load import LanguageModel
from workbench.inference.template import Example


@dataclass(frozen=True)
class Score:
    """One example's score."""

    #: Summed negative log-likelihood of the completion's tokens, in nats.
    nll: float
    #: Number of those tokens.
    tokens: int


def score(model: LanguageModel, examples: Sequence[Example]) -> list[Score]:
    """Score a batch of examples; an example of one token has nothing to predict and scores 0 over 0 tokens."""
    if not examples:
        return []
    ids, mask, labels = _pad_right(model, examples)
    with torch.inference_mode():
        logits = model.network(input_ids=ids, attention_mask=mask, use_cache=False).logits  # (batch, width, vocabulary)
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=-100
    )  # (batch, width - 1)
    counts = (labels[:, 1:] != -100).sum(dim=1).tolist()
    return [Score(nll, tokens) for nll, tokens in zip(losses.double().sum(dim=1).tolist(), counts, strict=True)]


def _pad_right(
    model: LanguageModel, examples: Sequence[Example]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # each (batch, width)
    width = max(len(example.input_ids) for example in examples)
    shape = (len(examples), width)
    ids = torch.full(shape, model.template.pad_id, device=model.device)
    mask = torch.zeros(shape, dtype=torch.long, device=model.device)
    labels = torch.full(shape, -100, device=model.device)
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        tokens = torch.tensor(example.input_ids, device=model.device)
        trained = torch.tensor(example.completion_mask, dtype=torch.bool, device=model.device)
        ids[row, :length] = tokens
        mask[row, :length] = 1
        labels[row, :length] = torch.where(trained, tokens, -100)
    return ids, mask, labels
