"""Renders a deployment's prompts: `python -m workbench.serving.renderer CONFIG.json`.

A process of its own, with bounded time and memory, because a chat template is a program that came with the model.
"""

from __future__ import annotations

import hmac
import json
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from aiohttp import web

from workbench.core.errors import WorkbenchError
from workbench.inference.template import ChatTemplate, TemplateInvalid
from workbench.jobs.supervisor import LIBC, PR_SET_PDEATHSIG
from workbench.serving.rendering import fit, whole

SECONDS = 10.0  # that one prompt may take
MEMORY_BYTES = 8 * 2**30  # of address space
BODY_BYTES = 64 * 2**20


def application(folder: Path, key: str) -> web.Application:
    """Return the app; `POST /render` answers with the prompt or the problem."""
    template = ChatTemplate.from_folder(folder)

    async def render(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
            return web.json_response({"code": "unauthenticated", "detail": "The key is wrong."}, status=401)
        asked = await request.json()
        try:
            with limited():
                return web.json_response(rendered(template, asked))
        except WorkbenchError as error:
            return web.json_response({"code": error.code, "detail": error.detail}, status=422)
        except MemoryError:
            detail = "The model’s chat template takes more memory than it may."
            return web.json_response({"code": TemplateInvalid.code, "detail": detail}, status=422)

    async def health(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(client_max_size=BODY_BYTES)
    app.router.add_post("/render", render)
    app.router.add_get("/health", health)
    return app


def rendered(template: ChatTemplate, asked: dict[str, Any]) -> dict[str, Any]:
    """Render a conversation, whole or as much of it as fits."""
    if asked["whole"]:
        found = whole(template, asked["messages"], asked["context_length"])
    else:
        found = fit(template, asked["messages"], asked["context_length"], asked["max_tokens"])
    return {"messages": list(found.prompt.messages), "ids": found.prompt.ids, "left_out": found.left_out}


@contextmanager
def limited() -> Iterator[None]:
    """Break off what takes too long."""
    signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TemplateInvalid(f"The model’s chat template takes longer than {SECONDS:.0f} seconds for this conversation.")


def main() -> None:
    """Serve until the parent dies or a signal comes."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    config = json.loads(Path(sys.argv[1]).read_bytes())
    app = application(Path(config["folder"]), config["key"])
    web.run_app(app, path=config["socket"], print=None, access_log=None)


if __name__ == "__main__":
    main()
