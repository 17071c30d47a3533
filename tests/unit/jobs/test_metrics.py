import json
import time
from pathlib import Path

from workbench.jobs.metrics import MetricsWriter
from workbench.jobs.schemas import MetricLine


def test_the_sequence_goes_on_where_earlier_attempts_ended(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "metrics.jsonl", last_seq=7) as writer:
        writer.write(1, 10, {"loss": 1.5})
        writer.write(2, 10, {"loss": 1})
    lines = [MetricLine.model_validate_json(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line.seq, line.step, line.total_steps, line.values) for line in lines] == [
        (8, 1, 10, {"loss": 1.5}),
        (9, 2, 10, {"loss": 1.0}),
    ]
    assert abs(lines[0].at - time.time()) < 60


def test_a_line_is_readable_before_the_writer_is_closed(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "metrics.jsonl", last_seq=0) as writer:
        writer.write(1, 1, {"loss": 1.5})
        assert (tmp_path / "metrics.jsonl").read_text().endswith("}\n")


def test_what_is_not_a_finite_number_is_left_out(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "metrics.jsonl", last_seq=0) as writer:
        writer.write(1, 1, {"loss": float("nan"), "grad_norm": float("inf"), "name": "x", "epoch": 1.0})
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["values"] == {"epoch": 1.0}
