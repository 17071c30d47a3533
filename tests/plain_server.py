"""A plain Tornado server that does the SQL of two of our routes and nothing else: what the route layer is measured by.

`python plain_server.py DATABASE_URL PORT POOL_SIZE`
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tornado import web

from workbench.accounts import audit, service
from workbench.chat import service as chat
from workbench.chat.schemas import ConversationCreate
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.settings import Settings

database = Database(sys.argv[1], int(sys.argv[3]))
threads = ThreadPoolExecutor(int(sys.argv[3]))
settings = Settings(home=Path("/nonexistent"))


def show(token: str, conversation_id: str) -> bytes:
    with database.read() as session:
        user = service.verify(session, token)
    assert user is not None
    with database.read() as session:
        return chat.show(Context(session, user, settings), conversation_id).model_dump_json().encode()


def create(token: str, body: bytes) -> bytes:
    with database.read() as session:
        user = service.verify(session, token)
    assert user is not None
    with database.write() as session:
        made = chat.create(Context(session, user, settings), ConversationCreate(title=json.loads(body)["title"]))
        content = made.model_dump_json().encode()
        audit.record(session, user, "chat.create", made.id, address="127.0.0.1")
    return content


class Handler(web.RequestHandler):
    async def get(self, conversation_id: str) -> None:
        await self._answer(show, conversation_id)

    async def post(self, _: str = "") -> None:
        await self._answer(create, self.request.body)

    async def _answer(self, work: Any, argument: Any) -> None:
        token = self.request.headers["Authorization"].removeprefix("Bearer ")
        content = await asyncio.get_running_loop().run_in_executor(threads, work, token, argument)
        self.set_header("Content-Type", "application/json")
        self.finish(content)


async def main() -> None:
    application = web.Application([(r"/api/chat/conversations/?(.*)", Handler)])
    application.listen(int(sys.argv[2]), address="127.0.0.1")
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
