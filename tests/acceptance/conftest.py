"""What the acceptance tests share: a tiny base model."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.testing import make_model


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "tiny-qwen3", "qwen3", hidden_size=32, attention_dropout=0.1)
