"""The evaluation worker: `python -m workbench.evaluation.run ATTEMPT_DIR`. It never opens the database."""

from __future__ import annotations

import logging
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from workbench.core.errors import Invalid
from workbench.datasets.materialise import materialise, read
from workbench.evaluation import scoring
from workbench.evaluation.compare import compare
from workbench.evaluation.schemas import (
    Comparison,
    EvaluatedModel,
    EvaluationJob,
    EvaluationResult,
    ModelScore,
    Sample,
    TemplateRecord,
)
from workbench.inference.weights import weights_sha256
from workbench.jobs.attempt import Attempt, StopRequest, leave, run_worker
from workbench.jobs.metrics import MetricsWriter
from workbench.training.checkpoints import file_sha256

if TYPE_CHECKING:
    from workbench.evaluation.answering import Question

logger = logging.getLogger("workbench")


class NoRows(Invalid):
    """There is no row to answer."""

    code = "evaluation.no_rows"


class NoAnswers(Invalid):
    """The rows have no answers."""

    code = "evaluation.no_answers"


class Progress:
    """Reports rows done, over all models of the evaluation."""

    def __init__(self, writer: MetricsWriter, total: int) -> None:
        self._writer = writer
        self._total = total
        self._done = 0
        self._begun = time.monotonic()

    def report(self, model: EvaluatedModel, samples: list[Sample], batch: int) -> None:
        """Write a point after a batch: the share of exact matches so far, and the speed."""
        self._done += batch
        speed = self._done / max(time.monotonic() - self._begun, 1e-9)
        values = {f"{model.role}_exact_match": scoring.exact_match(samples), "rows_per_second": speed}
        self._writer.write(self._done, self._total, values)
        logger.info("%s: %d of %d rows", model.role, self._done, self._total)


def work(attempt: Attempt, stop: StopRequest) -> None:
    """Let every model answer the rows; leaves the samples and `result.json`."""
    job = EvaluationJob.model_validate(attempt.spec)
    questions = read_questions(materialise(attempt.home, job.data), job.limit, job.seed)
    _silence()
    samples: dict[str, list[Sample]] = {}
    scores = []
    with MetricsWriter(attempt.metrics, attempt.last_seq) as writer:
        progress = Progress(writer, len(questions) * len(job.models))
        for model in job.models:
            found, measured = _judge(attempt, job, model, questions, progress, stop)
            samples[model.role] = found
            scores.append(measured)
    result = EvaluationResult(results=scores, comparison=_compare(job, samples), environment=_environment())
    attempt.write("result", result.model_dump(mode="json"))


def read_questions(arrow: Path, limit: int | None, seed: int) -> list[Question]:
    """Read the rows to answer, in their order; raises NoRows."""
    from workbench.evaluation.answering import Question

    rows = list(read(arrow))
    if not rows:
        raise NoRows("There is no row to answer; choose a split that has rows, or raise the dataset's test fraction.")
    if any(row.text is not None for _, row in rows):
        raise NoAnswers("The dataset holds plain texts, which have no answers to compare; evaluate on another one.")
    if limit is not None and limit < len(rows):
        rows = [rows[index] for index in sorted(random.Random(seed).sample(range(len(rows)), limit))]  # noqa: S311
    return [Question(row_id, row.transcript, row.answer, row.messages) for row_id, row in rows]


def _judge(
    attempt: Attempt,
    job: EvaluationJob,
    model: EvaluatedModel,
    questions: list[Question],
    progress: Progress,
    stop: StopRequest,
) -> tuple[list[Sample], ModelScore]:
    from workbench.evaluation.answering import answer
    from workbench.evaluation.metrics import measure
    from workbench.inference.load import load

    begun = time.monotonic()
    folder = attempt.resolve(model.path)
    language_model = load(folder)
    samples: list[Sample] = []
    for batch in answer(language_model, questions, job.batch_size, job.max_new_tokens):
        samples += batch
        progress.report(model, samples, len(batch))
        stop.check()
    with TemporaryDirectory(dir=attempt.folder) as scratch:
        samples, totals = measure(samples, Path(scratch))
    path = attempt.home / "evaluations" / attempt.attempt_id / f"{model.version_id}.jsonl"
    _write_samples(path, samples)
    return samples, ModelScore(
        version_id=model.version_id,
        role=model.role,
        rows=len(samples),
        **totals,
        tokens=sum(sample.tokens for sample in samples),
        seconds=round(time.monotonic() - begun, 3),
        weights_sha256=weights_sha256(folder),
        template=TemplateRecord.model_validate(language_model.template.record()),
        samples_path=str(path.relative_to(attempt.home)),
        samples_sha256=file_sha256(path),
    )


def _write_samples(path: Path, samples: list[Sample]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("".join(sample.model_dump_json() + "\n" for sample in samples), encoding="utf-8")
    partial.rename(path)


def _compare(job: EvaluationJob, samples: dict[str, list[Sample]]) -> Comparison | None:
    if samples.keys() != {"tuned", "base"}:
        return None
    return compare(samples["tuned"], samples["base"], primary=job.primary, seed=job.seed)


def _environment() -> dict[str, object]:
    from workbench.inference.load import default_device
    from workbench.training import environment

    return environment.record(default_device())


def _silence() -> None:
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


if __name__ == "__main__":
    leave(run_worker(work, sys.argv[1:]))
