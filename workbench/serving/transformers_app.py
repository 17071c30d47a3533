"""Runs transformers' own serving app for one model folder: `python -m workbench.serving.transformers_app CONFIG.json`.

Ours are only the socket, the key, and the chat template where the model brings none.
"""

from __future__ import annotations

import hmac
import json
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.response import ResponseHandler
from transformers.cli.serving.server import build_server
from transformers.cli.serving.systemone import SystemOneHandler
from transformers.cli.serving.transcription import TranscriptionHandler
from transformers.cli.serving.utils import GenerationState

from workbench.inference.load import default_device, default_dtype
from workbench.inference.template import ChatTemplate
from workbench.jobs.supervisor import LIBC, PR_SET_PDEATHSIG


class OneModel(ModelManager):  # type: ignore[misc]
    """Loads the model of one folder at start, with the template that it was trained with."""

    def __init__(self, folder: Path) -> None:
        self._template = ChatTemplate.from_folder(folder)
        device = default_device()
        super().__init__(device=str(device), dtype=default_dtype(device), force_model=str(folder))

    def _load_processor(self, model_id_and_revision: str, gguf_file: str | None = None) -> Any:
        processor = super()._load_processor(model_id_and_revision, gguf_file)
        processor.chat_template = self._template.text
        return processor

    def _load_model(self, *arguments: Any, **options: Any) -> Any:
        network = super()._load_model(*arguments, **options)
        network.generation_config.eos_token_id = list(self._template.stop_ids)
        network.generation_config.pad_token_id = self._template.pad_id
        return network


def application(folder: Path, key: str) -> FastAPI:
    """Return transformers' app, closed to whoever has not the key."""
    manager = OneModel(folder)
    state = GenerationState()
    app = build_server(
        manager,
        ChatCompletionHandler(model_manager=manager, generation_state=state),
        CompletionHandler(model_manager=manager, generation_state=state),
        ResponseHandler(model_manager=manager, generation_state=state),
        TranscriptionHandler(manager, state),
        SystemOneHandler(model_manager=manager, generation_state=state),
        generation_state=state,
    )

    async def check_key(request: Request, call_next: Any) -> Any:
        given = request.headers.get("Authorization", "").encode()
        if request.url.path != "/health" and not hmac.compare_digest(given, f"Bearer {key}".encode()):
            return JSONResponse({"error": "The key is wrong."}, status_code=401)
        return await call_next(request)

    app.middleware("http")(check_key)
    return app


def main() -> None:
    """Serve until the parent dies or a signal comes."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    config = json.loads(Path(sys.argv[1]).read_bytes())
    torch.set_num_threads(config["threads"])
    app = application(Path(config["folder"]), config["key"])
    uvicorn.run(app, uds=config["socket"], log_level="warning")


if __name__ == "__main__":
    main()
