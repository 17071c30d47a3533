"""The training worker: `torchrun … -m workbench.training.run ATTEMPT_DIR`. It never opens the database."""

from __future__ import annotations

import logging
import shutil
import sys
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import WorkbenchError
from workbench.datasets.materialise import materialise, read
from workbench.inference.template import ChatTemplate
from workbench.inference.weights import tensors, weights_sha256
from workbench.jobs.attempt import Attempt, Stopped, StopRequest, leave, run_worker
from workbench.jobs.metrics import MetricsWriter
from workbench.training import checkpoints, faults
from workbench.training.rows import TokenisedRows, ensure_trainable
from workbench.training.schemas import TrainingJob

if TYPE_CHECKING:
    from workbench.training.trainer import ResumableTrainer

logger = logging.getLogger("workbench")


class OutOfMemory(WorkbenchError):
    """The GPU's memory is used up."""

    code = "training.out_of_memory"


def work(attempt: Attempt, stop: StopRequest) -> None:
    """Train as the attempt says, and leave the model and `result.json`; raises Stopped after a saved stop."""
    begun = time.monotonic()
    job = TrainingJob.model_validate(attempt.spec)
    job = job.model_copy(update={"training": job.training.resolved()})
    base = attempt.resolve(job.base.path)
    template = ChatTemplate.from_folder(base)
    tensors(base)
    rows = ensure_trainable(template, list(read(materialise(attempt.home, job.data))), job.training.max_length)
    logger.info(
        "%d rows (%d truncated, %d dropped); template: %s", rows.used, rows.truncated, rows.dropped, template.source
    )
    stop.check()
    _silence()

    import torch

    from workbench.training import sft

    torch.set_num_threads(job.training.cpu_threads)
    trainer = sft.make_trainer(job.training, base, rows, attempt.checkpoints)
    stop.check()
    try:
        _train(attempt, trainer, stop)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            "The GPU's memory is used up; lower micro_batch_size or max_length, use an adapter,"
            " or turn gradient_checkpointing on."
        ) from error
    if trainer.is_world_process_zero():
        faults.reach("model")
        _publish(attempt, job, trainer, rows, template, base, time.monotonic() - begun)
    trainer.accelerator.end_training()


def _train(attempt: Attempt, trainer: ResumableTrainer, stop: StopRequest) -> None:
    from workbench.training.sft import add_callbacks
    from workbench.training.trainer import MetricsCallback, ProgressCallback

    main = trainer.is_world_process_zero()
    if main:
        _prepare_checkpoints(attempt)
    trainer.accelerator.wait_for_everyone()
    checkpoint = checkpoints.newest(attempt.checkpoints)
    with ExitStack() as stack:
        writer = stack.enter_context(MetricsWriter(attempt.metrics, attempt.last_seq)) if main else None
        progress = ProgressCallback(trainer, stop)
        add_callbacks(trainer, progress, MetricsCallback(trainer, writer))
        if main:
            _announce(attempt, checkpoint)
        trainer.resume(checkpoint)
    if progress.stopped:
        raise Stopped


def _prepare_checkpoints(attempt: Attempt) -> None:
    if not attempt.resume:
        shutil.rmtree(attempt.checkpoints, ignore_errors=True)
    attempt.checkpoints.mkdir(parents=True, exist_ok=True)
    checkpoints.discard_incomplete(attempt.checkpoints)


def _announce(attempt: Attempt, checkpoint: Path | None) -> None:
    """Say from where this attempt goes on, before its first metric line."""
    if not attempt.resume:
        return
    step = checkpoints.step_of(checkpoint) if checkpoint is not None else 0
    attempt.write("resume", {"step": step})
    logger.info("Resuming from step %d.", step)


def _publish(
    attempt: Attempt,
    job: TrainingJob,
    trainer: ResumableTrainer,
    rows: TokenisedRows,
    template: ChatTemplate,
    base: Path,
    seconds: float,
) -> None:
    from workbench.training import environment
    from workbench.training.saving import save_model

    target = attempt.home / "models" / attempt.attempt_id
    save_model(trainer.accelerator.unwrap_model(trainer.model), base, template, target, rows.row_ids)
    result: dict[str, Any] = {
        "model_path": str(target.relative_to(attempt.home)),
        "weights_sha256": weights_sha256(target),
        "base_weights_sha256": weights_sha256(base),
        "template": template.record(),
        "environment": environment.record(trainer.args.device),
        "training": job.training.model_dump(mode="json"),
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "rows_used": rows.used,
        "rows_truncated": rows.truncated,
        "rows_dropped": rows.dropped,
        "turns_untrained": rows.untrained_turns,
        "seconds": round(seconds, 3),
        "train_loss": trainer.train_loss,
    }
    attempt.write("result", result)
    logger.info("Done: %s after %d steps.", result["model_path"], result["steps"])


def _silence() -> None:
    import transformers
    from datasets.utils.logging import disable_progress_bar

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    disable_progress_bar()
    # PEFT still asks by the deprecated name
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


if __name__ == "__main__":
    leave(run_worker(work, sys.argv[1:]))
