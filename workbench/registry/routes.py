"""The contract of the model registry."""

from __future__ import annotations

from workbench.core.routes import get, patch, post
from workbench.core.schemas import Lineage, Page, PageQuery, Sharing
from workbench.registry.schemas import Model, ModelCreate, ModelVersion, VersionUpdate

listing = get("/api/models", permission="models:read", query=PageQuery, returns=Page[Model])
register = post("/api/models", permission="models:write", body=ModelCreate, returns=ModelVersion)
show = get("/api/models/{model_id}", permission="models:read", returns=Model)
share = patch("/api/models/{model_id}", permission="models:write", body=Sharing, returns=Model)
versions = get("/api/models/{model_id}/versions", permission="models:read", query=PageQuery, returns=Page[ModelVersion])
version = get("/api/models/versions/{version_id}", permission="models:read", returns=ModelVersion)
update = patch("/api/models/versions/{version_id}", permission="models:write", body=VersionUpdate, returns=ModelVersion)
lineage = get("/api/models/versions/{version_id}/lineage", permission="models:read", returns=Lineage)
