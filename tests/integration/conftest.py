"""One server for all integration tests, with a dataset and a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Lab, running_lab

from workbench.datasets.client import Dataset
from workbench.testing import demo_rows, make_model


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab") / "home") as running:
        yield running


@pytest.fixture(scope="package")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "tiny-qwen3", "qwen3", hidden_size=32)


@pytest.fixture(scope="package")
def data(lab: Lab) -> Dataset:
    return lab.wb.datasets.upload(demo_rows(), name="integration", test_fraction=0.2)
