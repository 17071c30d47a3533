"""Write the trained model to its place, whole or not at all, as a folder that every consumer loads alike."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from peft import PeftModel

from workbench.inference.template import ChatTemplate
from workbench.training.checkpoints import fsync, fsync_tree
from workbench.training.rowfile import write_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Copied byte for byte from the base, so that the served tokens are the trained ones.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "generation_config.json",
    "chat_template.jinja",
)


def save_model(
    network: PreTrainedModel | PeftModel, base: Path, template: ChatTemplate, target: Path, row_ids: Iterable[int]
) -> None:
    """Save a network as `target`, with the ids of the rows that trained it.

    An adapter is merged into its base, and kept beside it in `adapter/`.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if isinstance(network, PeftModel):
        network.save_pretrained(partial / "adapter")
        network = network.merge_and_unload(safe_merge=True)
    network.save_pretrained(partial)
    _copy_tokenizer(base, template, partial)
    write_rows(partial, row_ids)
    fsync_tree(partial)
    partial.rename(target)
    fsync(target.parent)


def _copy_tokenizer(base: Path, template: ChatTemplate, folder: Path) -> None:
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    (folder / "chat_template.jinja").write_text(template.text, encoding="utf-8")
