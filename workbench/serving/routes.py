"""The contract of deployments."""

from __future__ import annotations

from workbench.core.routes import get, post, socket
from workbench.core.schemas import Page
from workbench.jobs.schemas import LogPage, LogQuery
from workbench.serving.schemas import Deployment, DeploymentCreate, DeploymentsQuery

deploy = post(
    "/api/models/{model_id}/deploy",
    permission="deployments:write",
    body=DeploymentCreate,
    returns=Deployment,
    status=202,
    idempotent=True,
)
listing = get("/api/deployments", permission="deployments:read", query=DeploymentsQuery, returns=Page[Deployment])
show = get("/api/deployments/{deployment_id}", permission="deployments:read", returns=Deployment)
stop = post("/api/deployments/{deployment_id}/stop", permission="deployments:write", returns=Deployment)
log = get("/api/deployments/{deployment_id}/log", permission="deployments:read", query=LogQuery, returns=LogPage)
live = socket("/ws/deployments/{deployment_id}", permission="deployments:read", messages=Deployment)
