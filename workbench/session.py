"""`workbench.connect()`: the whole workbench as one object in a notebook."""

from __future__ import annotations

import os
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from workbench import credentials
from workbench.accounts import routes as accounts_routes
from workbench.accounts.client import Tokens
from workbench.accounts.schemas import Me
from workbench.chat.client import Chats, Deployment
from workbench.core.errors import Conflict, Unauthenticated, invalid_input
from workbench.core.http import HTTP
from workbench.core.schemas import Health, Sharing
from workbench.datasets import routes as datasets_routes
from workbench.datasets.client import Dataset, Datasets, Split
from workbench.evaluation import routes as evaluation_routes
from workbench.evaluation.client import Evaluation
from workbench.evaluation.schemas import EvaluationSpec
from workbench.jobs import routes as jobs_routes
from workbench.jobs.client import JobHandle, Jobs
from workbench.jobs.schemas import Job
from workbench.registry import routes as registry_routes
from workbench.registry.client import Models, ModelVersion
from workbench.serving import routes as serving_routes
from workbench.serving.client import Deployments
from workbench.serving.schemas import DeploymentCreate
from workbench.training import routes as training_routes
from workbench.training.client import Run, TrainedRows
from workbench.training.rendering import RenderedRows
from workbench.training.schemas import PreviewQuery, RowModel, TrainingSpec

if TYPE_CHECKING:
    from ipywidgets import DOMWidget


class NoServer(Unauthenticated):
    """No workbench server is known here."""

    code = "server.unknown"


class NotCompared(Conflict):
    """The run has not been compared with its base."""

    code = "run.not_compared"


class Runs:
    """`wb.runs`: fine-tuning runs, newest first."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def list(self) -> list[Job]:
        """Return the newest runs."""
        return Jobs(self._http).list(kind="train")

    def __getitem__(self, run_id: str) -> Run:
        return Run(self._http, run_id)


class Workbench:
    """A connection to a workbench server, with everything a researcher does there."""

    def __init__(self, http: HTTP) -> None:
        self.http = http
        self.datasets = Datasets(http)
        self.models = Models(http)
        self.jobs = Jobs(http)
        self.runs = Runs(http)
        self.deployments = Deployments(http)
        self.chats = Chats(http)
        self.tokens = Tokens(http)

    def train(
        self, *, base: str | ModelVersion, data: Split, method: str = "sft", adapter: str | None = None, **options: Any
    ) -> Run:
        """Queue a fine-tuning run on `data` (such as `dataset["train"]`) and return at once.

        `options` are the fields of `TrainingSpec`: epochs or max_steps, learning_rate, batch_size, max_length, seed, …
        """
        given = {"base": base if isinstance(base, str) else base.id, "data": data.ref, "method": method, **options}
        try:
            spec = TrainingSpec.model_validate(given | {"adapter": adapter})
        except ValidationError as error:
            raise invalid_input(error, "the training spec") from error
        job = self.http.call(training_routes.submit, body=spec, idempotency_key=uuid.uuid4().hex)
        return Run(self.http, job.id)

    def preview(self, *, base: str | ModelVersion, data: Split, limit: int = 3, max_length: int = 1024) -> RenderedRows:
        """Show the first rows of `data` as tokens under the base's chat template; those that are trained are marked."""
        named = base if isinstance(base, str) else base.id
        query = PreviewQuery(base=named, limit=limit, max_length=max_length, **data.ref.model_dump())
        return RenderedRows(self.http.call(training_routes.preview, query=query))

    def rows_of(self, model: ModelVersion) -> TrainedRows:
        """Return the very rows that trained a model version."""
        return TrainedRows(self.http, model.id)

    def models_of(self, dataset: Dataset, row_id: int) -> list[RowModel]:
        """Return the model versions that were trained on a row of a dataset, and those made from them."""
        return self.http.call(training_routes.row_models, dataset_id=dataset.id, row_id=str(row_id)).items

    def evaluate(
        self,
        model: ModelVersion,
        *,
        test: Split,
        baseline: ModelVersion | None = None,
        wait: bool = True,
        **options: Any,
    ) -> Evaluation:
        """Score a model on held-out rows, beside a baseline when one is given.

        `options` are the fields of `EvaluationSpec`: max_new_tokens, batch_size, limit, …
        """
        given = {"data": test.ref, "baseline": baseline.id if baseline is not None else None, **options}
        try:
            spec = EvaluationSpec.model_validate(given)
        except ValidationError as error:
            raise invalid_input(error, "the evaluation") from error
        key = uuid.uuid4().hex
        job = self.http.call(evaluation_routes.submit, body=spec, idempotency_key=key, model_id=model.id)
        evaluation = Evaluation(self.http, job.id)
        return evaluation.wait() if wait else evaluation

    def comparison(self, run: Run) -> Evaluation:
        """Return the comparison with its base that a run was followed by; waits for nothing.

        Raises `NotCompared` when there is none.
        """
        job = run.job()
        if job.outcome is None:
            raise NotCompared(f"The run {run.id} is {job.state}; it is compared with its base when it has succeeded.")
        if "evaluation_job_id" not in job.outcome:
            raise NotCompared(
                f"The run {run.id} was not compared with its base by itself, because its dataset holds no rows out"
                " or its spec says evaluate = False; use wb.evaluate(run.model, baseline=run.base, test=…)."
            )
        return Evaluation(self.http, str(job.outcome["evaluation_job_id"]))

    def deploy(self, model: str | ModelVersion, **options: Any) -> Deployment:
        """Serve a model version (or a model in a folder on the server) and return at once.

        `options` are the fields of `DeploymentCreate`: engine, quantization, context_length, parallel, ttl_seconds, …
        """
        version = self.models.add(model) if isinstance(model, str) else model
        try:
            body = DeploymentCreate.model_validate(options)
        except ValidationError as error:
            raise invalid_input(error, "the deployment") from error
        key = uuid.uuid4().hex
        return Deployment(
            self.http, self.http.call(serving_routes.deploy, body=body, idempotency_key=key, model_id=version.id).id
        )

    def share(self, thing: Dataset | ModelVersion | JobHandle | Deployment, audience: str = "everyone") -> None:
        """Let everyone, a team (by its id) or nobody else (`private`) see a dataset, a model, a job or a deployment.

        A run is shared with the model that it made and the comparison that followed it.
        """
        body = Sharing(audience=audience)
        if isinstance(thing, Dataset):
            self.http.call(datasets_routes.share, body=body, dataset_id=thing.id)
        elif isinstance(thing, ModelVersion):
            self.http.call(registry_routes.share, body=body, model_id=thing.record.model_id)
        else:
            made = self.http.call(jobs_routes.share, body=body, job_id=thing.id).outcome or {}
            if isinstance(thing, Run) and "model_version_id" in made:
                self.share(thing.model, audience)
            if "evaluation_job_id" in made:
                self.http.call(jobs_routes.share, body=body, job_id=str(made["evaluation_job_id"]))

    def health(self) -> Health:
        """Return the server's state."""
        return self.http.call(jobs_routes.health)

    @cached_property
    def me(self) -> Me:
        """Who this connection stands for, and what it may do."""
        return self.http.call(accounts_routes.me)

    def may(self, permission: str) -> bool:
        """Tell whether this connection has a permission, such as `jobs:write`."""
        return permission in self.me.permissions

    def panel(self, name: str = "main") -> DOMWidget:
        """Show a panel: the main job, or data, train, runs, queue, comparisons, models, chat, account or admin."""
        from workbench.panel import panel

        return panel(self, name)

    def close(self) -> None:
        """Close the connection; every handle made from it ends with it."""
        self.http.close()

    def __repr__(self) -> str:
        return f"<Workbench at {self.http.url}>"


def connect(url: str | None = None, token: str | None = None) -> Workbench:
    """Connect to the workbench server: by the arguments, by the environment (a kernel's says it), or by the login.

    Raises `NoServer` when none of them says where it is.
    """
    url = url or os.environ.get("WORKBENCH_URL")
    token = token or os.environ.get("WORKBENCH_TOKEN")
    if not url and not token and (stored := credentials.load()) is not None:
        url, token = stored.url, stored.token
    if not url or not token:
        raise NoServer(
            "No workbench server is known here: run this in a notebook that `workbench lab` opened, give connect()"
            " the server's url and token, set WORKBENCH_URL and WORKBENCH_TOKEN, or run `workbench login` once."
        )
    return Workbench(HTTP(url, token))
