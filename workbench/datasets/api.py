"""Binds the contract of the datasets slice to its service."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.core.routes import UploadedFile
from workbench.core.schemas import Page, PageQuery, Sharing
from workbench.datasets import routes, service
from workbench.datasets.schemas import (
    Dataset,
    DatasetsQuery,
    DatasetUpload,
    RowsPage,
    RowsQuery,
    Version,
    VersionSummary,
    VersionUpload,
)


@routes.listing.handler
def listing(context: Context, query: DatasetsQuery) -> Page[Dataset]:
    """List datasets, newest first; `name` finds one by its exact name."""
    return service.listing(context, query)


@routes.create.handler
def create(context: Context, file: UploadedFile, query: DatasetUpload) -> Dataset:
    """Create a dataset from a JSON Lines, JSON, CSV, Excel or Parquet file of rows in any known format."""
    return service.create(context, file.path, query)


@routes.show.handler
def show(context: Context, dataset_id: str) -> Dataset:
    """Show a dataset at its newest version."""
    return service.show(context, dataset_id)


@routes.share.handler
def share(context: Context, dataset_id: str, body: Sharing) -> Dataset:
    """Let nobody else, a team or everyone see a dataset with all its versions."""
    return service.change_audience(context, dataset_id, body)


@routes.versions.handler
def versions(context: Context, dataset_id: str, query: PageQuery) -> Page[VersionSummary]:
    """List the versions of a dataset, newest first."""
    return service.versions(context, dataset_id, query)


@routes.add_version.handler
def add_version(context: Context, dataset_id: str, file: UploadedFile, query: VersionUpload) -> Dataset:
    """Replace a dataset's content by a file, as a new version on top of `parent`."""
    return service.add_version(context, dataset_id, file.path, query)


@routes.version.handler
def version(context: Context, version_id: str) -> Version:
    """Show one version."""
    return service.version(context, version_id)


@routes.rows.handler
def rows(context: Context, version_id: str, query: RowsQuery) -> RowsPage:
    """Read a page of a version's rows, or of one side of its split."""
    return service.rows(context, version_id, query)
