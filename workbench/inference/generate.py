"""Greedy generation in batches: a prompt's answer does not depend on what else is in its batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from workbench.inference.load import LanguageModel


def generate(model: LanguageModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
    """Answer each prompt (token ids) with at most `max_new_tokens` tokens, without the token that ended the answer."""
    if not prompts:
        return []
    width = max(len(prompt) for prompt in prompts)
    input_ids, attention_mask = _pad_left(model, prompts, width)
    with torch.inference_mode():
        output = model.network.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=list(model.template.stop_ids),
            pad_token_id=model.template.pad_id,
        )
    return [_until_stop(row, model.template.stop_ids) for row in output[:, width:].tolist()]


def _pad_left(model: LanguageModel, prompts: Sequence[Sequence[int]], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    pad = model.template.pad_id
    ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=model.device), torch.tensor(mask, device=model.device)  # both (batch, width)


def _until_stop(ids: list[int], stop_ids: Sequence[int]) -> list[int]:
    stop = next((position for position, token in enumerate(ids) if token in stop_ids), len(ids))
    return ids[:stop]
