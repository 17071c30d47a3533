"""The contract of the datasets slice."""

from __future__ import annotations

from workbench.core.routes import get, patch, upload
from workbench.core.schemas import Page, PageQuery, Sharing
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

listing = get("/api/datasets", permission="datasets:read", query=DatasetsQuery, returns=Page[Dataset])
create = upload("/api/datasets", permission="datasets:write", query=DatasetUpload, returns=Dataset)
show = get("/api/datasets/{dataset_id}", permission="datasets:read", returns=Dataset)
share = patch("/api/datasets/{dataset_id}", permission="datasets:write", body=Sharing, returns=Dataset)
versions = get(
    "/api/datasets/{dataset_id}/versions", permission="datasets:read", query=PageQuery, returns=Page[VersionSummary]
)
add_version = upload(
    "/api/datasets/{dataset_id}/versions", permission="datasets:write", query=VersionUpload, returns=Dataset
)
version = get("/api/datasets/versions/{version_id}", permission="datasets:read", returns=Version)
rows = get("/api/datasets/versions/{version_id}/rows", permission="datasets:read", query=RowsQuery, returns=RowsPage)
