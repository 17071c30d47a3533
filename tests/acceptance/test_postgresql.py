"""The main job on PostgreSQL, through a crash of the server."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from servers import attempt_lines, processes_of, running_lab, until
from sqlalchemy import make_url

from workbench.testing import demo_rows


@pytest.fixture
def url(postgresql_url: str) -> str:
    """The URL of a new, empty database, as an operator would give it."""
    name = "acceptance"
    server = make_url(postgresql_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[call-overload]
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.mark.slow
def test_the_main_job_on_postgresql(url: str, base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    options = {"max_steps": 60, "batch_size": 16, "max_length": 64, "learning_rate": 1e-3, "logging_steps": 1}
    with running_lab(home, WORKBENCH_DATABASE_URL=url) as lab:
        assert lab.wb.health().database == "postgresql"
        data = lab.wb.datasets.upload(demo_rows(), name="rows", test_fraction=0.2)
        run = lab.wb.train(base=str(base), data=data["train"], evaluate=False, **options)
        until(lambda: attempt_lines(home, run.id, 1), 60, "the first step")
        lab.kill()
    with running_lab(home, WORKBENCH_DATABASE_URL=url) as lab:
        run = lab.wb.runs[run.id].wait()
        assert [line.step for line in run.stream() if line.type == "metric"] == list(range(1, 61))
        evaluation = lab.wb.evaluate(run.model, baseline=run.base, test=lab.wb.datasets["rows"]["test"], limit=10)
        assert len(evaluation.samples()) == 10
    assert not (home / "workbench.db").exists()
    assert processes_of(home) == []
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM hosts").fetchall() == [(0,)]
