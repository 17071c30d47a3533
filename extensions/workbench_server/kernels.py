"""Gives each kernel the server's address, its visitor's language and a token, and none of the server's secrets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from jupyter_server import CallContext
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from workbench.accounts import people, service
from workbench.accounts.roles import Limit
from workbench.core.context import Principal
from workbench.core.database import Database
from workbench.core.texts import Language
from workbench_server.language import lab_language

#: Variables of the server that no kernel may see.
SECRETS = (
    "JUPYTER_TOKEN",
    "JUPYTERHUB_API_TOKEN",
    "WORKBENCH_TOKEN",
    "WORKBENCH_DATABASE_URL",
    "WORKBENCH_KEY_FILE",
    "WORKBENCH_SMTP_URL",
    "QUERY_STRING",
    "VOILA_REQUEST_URL",
)


class WorkbenchKernelManager(AsyncMappingKernelManager):
    """Starts kernels that can call the workbench as the user who started them."""

    #: What a kernel's token is limited to, and what kind of holder it has.
    limit: ClassVar[Limit] = "program"
    holder: ClassVar[service.Holder] = "kernel"
    #: Set by the extension before the first kernel; None when the workbench refused to serve.
    database: Database | None = None
    server_url: str

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        #: Whose a kernel is, by its id.
        self.owners: dict[str, Principal] = {}

    def owner(self, who: Principal) -> Principal:
        """Return whom a kernel belongs to: the person, whose kernels outlive a logout."""
        return replace(who, holder=None, login_id=None)

    def language(self) -> Language | None:
        """Return the visitor's language, None to leave it to the system."""
        return lab_language(cast(ServerApp, self.parent))

    async def _async_start_kernel(self, *, kernel_id: str | None = None, **kwargs: Any) -> str:
        if kernel_id is not None and kernel_id in self:
            return str(await super()._async_start_kernel(kernel_id=kernel_id, **kwargs))
        kernel_id = kernel_id or self.new_kernel_id(**kwargs)
        variables = await asyncio.to_thread(self._credentials, visitor(), kernel_id)
        given = without_secrets(kwargs.get("env") or os.environ)
        language = self.language()
        kwargs["env"] = ({"WORKBENCH_LANGUAGE": language} if language is not None else {}) | given | variables
        self.owners[kernel_id] = self.owner(visitor())
        try:
            return str(await super()._async_start_kernel(kernel_id=kernel_id, **kwargs))
        except Exception:
            self.owners.pop(kernel_id, None)
            await asyncio.to_thread(self._revoke, kernel_id)
            raise

    start_kernel = _async_start_kernel  # type: ignore[assignment]

    def remove_kernel(self, kernel_id: str) -> Any:
        """End the kernel's token with the kernel, however that ended."""
        self.owners.pop(kernel_id, None)
        self._revoke(kernel_id)
        return super().remove_kernel(kernel_id)

    def _credentials(self, user: Principal, kernel_id: str) -> dict[str, str]:
        if self.database is None:
            return {}
        with self.database.write() as session:
            token = service.issue(session, user, self.limit, self.holder, kernel_id)
        return {"WORKBENCH_URL": self.server_url, "WORKBENCH_TOKEN": token}

    def _revoke(self, kernel_id: str) -> None:
        if self.database is not None:
            with self.database.write() as session:
                service.revoke(session, self.holder, kernel_id)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the server's secrets."""
    return {name: value for name, value in environment.items() if name not in SECRETS}


def visitor() -> Principal:
    """Return who asks for the kernel: the user of the present request, or the owner."""
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    user = getattr(handler, "current_user", None)
    return user.principal() if user is not None else people.owner()
