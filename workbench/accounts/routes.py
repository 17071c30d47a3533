"""The contract of accounts."""

from __future__ import annotations

from workbench.accounts.schemas import Me
from workbench.core.routes import get

me = get("/api/auth/me", permission=None, returns=Me)
