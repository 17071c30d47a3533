from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.core.database import Database


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """A fresh, upgraded SQLite database, which is the home's."""
    shutil.copy(sqlite_template, tmp_path / "workbench.db")
    database = Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    yield database
    database.close()
