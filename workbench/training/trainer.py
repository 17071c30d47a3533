"""TRL's SFTTrainer with checkpoints that are whole or not there, and with a resume that repeats every logged number.

The Trainer's checkpoints lack what has been summed up since the last logged step; `progress_<rank>.json` adds it.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

from workbench.core.errors import WorkbenchError
from workbench.jobs.attempt import StopRequest
from workbench.jobs.metrics import MetricsWriter, is_finite
from workbench.training import checkpoints, faults

logger = logging.getLogger("workbench")
#: Keys of the Trainer's final summary, which is not a step.
SUMMARY_KEY = "train_runtime"


class TrainingDiverged(WorkbenchError):
    """The loss is no longer a finite number."""

    code = "training.diverged"


class ResumableTrainer(SFTTrainer):  # type: ignore[misc]
    """An SFTTrainer whose checkpoints are committed in one rename."""

    def __init__(self, *args: Any, folder: Path, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # TRL gathers sums, not samples: of the last batch accelerate would cut off the sums of some ranks
        self.accelerator.gather_for_metrics = self.accelerator.gather
        self._folder = folder
        self._staging: Path | None = None
        self._resumed: Path | None = None
        #: Mean loss over all steps of the run, once it has ended.
        self.train_loss = 0.0

    def resume(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint or from the start."""
        self._resumed = checkpoint
        if checkpoint is not None and self._take_finished(checkpoint):
            return
        ended = self.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        self.train_loss = ended.training_loss

    def _take_finished(self, checkpoint: Path) -> bool:
        """Take a checkpoint of the last step as it is: the Trainer would go one step beyond it."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if state.global_step < state.max_steps:
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = state
        self.restore_progress()
        self.train_loss = (self._total_loss_scalar + self._tr_loss.item()) / state.global_step
        return True

    @property
    def tokens_seen(self) -> int:
        """Tokens trained on so far, prompts included."""
        return int(self._total_train_tokens)

    def restore_progress(self) -> None:
        """Restore the running sums; called when the Trainer has just set them to zero."""
        if self._resumed is None:
            return
        progress = json.loads((self._resumed / self._progress_name()).read_bytes())
        self._tr_loss = torch.tensor(progress["loss_sum"], device=self.args.device)
        self._total_loss_scalar = progress["total_loss"]
        self._globalstep_last_logged = progress["last_logged_step"]
        self._total_train_tokens = progress["tokens"]
        self._metrics["train"].update(progress["metrics"])
        self._initial_global_step = 0  # the final train_loss is the whole run's

    def _progress(self) -> dict[str, Any]:
        return {
            "loss_sum": self._tr_loss.item(),
            "total_loss": self._total_loss_scalar,
            "last_logged_step": self._globalstep_last_logged,
            "tokens": self._total_train_tokens,
            "metrics": dict(self._metrics["train"]),
        }

    def _progress_name(self) -> str:
        return f"progress_{self.args.process_index}.json"

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging or self._folder)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        if self.is_world_process_zero():
            checkpoints.stage(self._folder)
        self.accelerator.wait_for_everyone()
        self._staging = self._folder / checkpoints.STAGING
        Trainer._save_checkpoint(self, model, trial)  # past TRL's, which writes a model card
        staged = self._staging / f"checkpoint-{self.state.global_step}"
        (staged / self._progress_name()).write_text(json.dumps(self._progress()))
        self._staging = None
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            checkpoints.commit(staged, self._folder)
        self.accelerator.wait_for_everyone()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        faults.reach(f"checkpoint:{self.state.global_step}:weights")
        super()._save_optimizer_and_scheduler(output_dir)

    def _send_telemetry(self) -> None:
        """Nothing about a run leaves the machine."""


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Restores the running sums on resume, and stops all processes after the same step when one is asked to."""

    def __init__(self, trainer: ResumableTrainer, stop: StopRequest) -> None:
        self._trainer = trainer
        self._stop = stop
        #: Whether training ended early, with a checkpoint.
        self.stopped = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on where the checkpoint's sums ended."""
        self._trainer.restore_progress()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop if any process was asked to."""
        faults.reach(f"step:{state.global_step}")
        if self._asked(args.device) and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def _asked(self, device: torch.device) -> bool:
        if not distributed.is_initialized():
            return self._stop.made
        asked = torch.tensor(int(self._stop.made), device=device)
        distributed.all_reduce(asked, op=distributed.ReduceOp.MAX)
        return bool(asked.item())


class MetricsCallback(TrainerCallback):  # type: ignore[misc]
    """Writes one metric line and one line of log for each logged step."""

    def __init__(self, trainer: ResumableTrainer, writer: MetricsWriter | None) -> None:
        self._trainer = trainer
        self._writer = writer
        self._tokens = 0
        self._time = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock of tokens per second."""
        self._tokens, self._time = self._trainer.tokens_seen, time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a point; raises TrainingDiverged when the loss is not a number any more."""
        if logs is None or SUMMARY_KEY in logs:
            return
        if not is_finite(logs.get("loss")):
            raise TrainingDiverged(
                f"The loss is {logs.get('loss')} at step {state.global_step};"
                " lower the learning rate or add warmup steps."
            )
        if self._writer is not None:
            self._writer.write(state.global_step, state.max_steps, {**logs, "tokens_per_second": self._speed(logs)})
            logger.info("step %d/%d  loss %.4f", state.global_step, state.max_steps, logs["loss"])

    def _speed(self, logs: dict[str, Any]) -> float:
        now, tokens = time.monotonic(), int(logs["num_tokens"])
        speed = (tokens - self._tokens) / max(now - self._time, 1e-9)
        self._time, self._tokens = now, tokens
        return speed
