"""The contract of the model registry."""

from __future__ import annotations

from workbench.core.routes import get
from workbench.core.schemas import Page, PageQuery
from workbench.registry.schemas import Lineage, Model, ModelVersion

listing = get("/api/models", permission="models:read", query=PageQuery, returns=Page[Model])
version = get("/api/models/versions/{version_id}", permission="models:read", returns=ModelVersion)
lineage = get("/api/models/versions/{version_id}/lineage", permission="models:read", returns=Lineage)
show = get("/api/models/{model_id}", permission="models:read", returns=Model)
