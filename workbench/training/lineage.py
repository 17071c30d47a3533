"""From a model version to the very rows that trained it, and from a row to the versions that saw it."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.core.errors import NotFound
from workbench.core.lineage import edges
from workbench.core.schemas import Page, Ref
from workbench.datasets import preview
from workbench.datasets import service as datasets
from workbench.datasets.schemas import RowsPage
from workbench.jobs import service as jobs
from workbench.registry import service as registry
from workbench.registry.schemas import ModelVersion
from workbench.training.rowfile import read_rows
from workbench.training.schemas import RowModel, TrainedRowsQuery, TrainingJob


class NotTrainedHere(NotFound):
    """The model version was not trained here."""

    code = "model.not_trained_here"


def trained_rows(context: Context, version_id: str, query: TrainedRowsQuery) -> RowsPage:
    """Return a page of the rows that trained a version; rows that `max_length` left out are not among them."""
    version = registry.version(context.session, version_id)
    data = _job(context, version).data
    datasets.find_version(context.session, data.version_id)  # a shared model does not share its rows
    only = read_rows(context.settings.home / version.path)
    return preview.page(context.settings.home, data, query.offset, query.limit, only)


def models_of_row(context: Context, dataset_id: str, row_id: int) -> Page[RowModel]:
    """Return the model versions that were trained on a row, and those made from them."""
    found: dict[str, RowModel] = {}
    for dataset_version in datasets.versions_with_row(context, dataset_id, row_id):
        made = _made_from(context, Ref(kind="dataset_version", id=dataset_version.id))
        for version_id in registry.describe(context.session, made):  # of those that the caller may see
            if _saw(context, version_id, row_id):
                _add(context, found, version_id, dataset_version.id)
    return Page(items=sorted(found.values(), key=lambda model: model.version_id))


def _add(context: Context, found: dict[str, RowModel], version_id: str, dataset_version_id: str) -> None:
    """Add a version that was trained on the row, and all that were made from it."""
    frontier, direct = [version_id], True
    while frontier:
        for each in registry.describe(context.session, frontier):
            if direct or each not in found:
                version = registry.version(context.session, each)
                name = f"{version.model_name} v{version.number}"
                made = {"version_id": each, "name": name, "dataset_version_id": dataset_version_id}
                found[each] = RowModel.model_validate({**made, "direct": direct})
        below = (Ref(kind="model_version", id=each) for each in frontier)
        frontier = [made for ref in below for made in _made_from(context, ref) if made not in found]
        direct = False


def _made_from(context: Context, ref: Ref) -> list[str]:
    found = edges(context.session, ref)
    return [edge.target.id for edge in found if edge.source == ref and edge.target.kind == "model_version"]


def _saw(context: Context, version_id: str, row_id: int) -> bool:
    version = registry.version(context.session, version_id)
    return row_id in read_rows(context.settings.home / version.path)


def _job(context: Context, version: ModelVersion) -> TrainingJob:
    if version.job_id is None:
        raise NotTrainedHere(f"The model {version.model_name} v{version.number} was brought here, not trained here.")
    return TrainingJob.model_validate(jobs.find(context.session, version.job_id).spec)
