"""Starts an engine's process and waits until it answers."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import httpx

from workbench.jobs.files import write_json
from workbench.serving.engines import EngineFailed, socket_path
from workbench.serving.schemas import EngineName

MODULES: dict[EngineName, str] = {
    "llama.cpp": "workbench.serving.llama_cpp",
    "transformers": "workbench.serving.transformers_app",
}
RENDERER = "workbench.serving.renderer"
PROBE_INTERVAL = 0.05  # seconds
STOP_TIMEOUT = 10.0  # seconds an engine gets to end by itself


class SocketProcess:
    """A process that answers on a socket of its own: started at once, ready when `wait` returns."""

    def __init__(self, module: str, socket: Path, config: Path, options: dict[str, Any], log: IO[bytes]) -> None:
        """Start `module`; `config` is the file that takes its options, its socket and the key that opens it."""
        self.socket, self.key = socket, secrets.token_urlsafe(32)
        self._name = module.rpartition(".")[2]
        write_json(config, {"socket": str(socket), "key": self.key, **options}, mode=0o600)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def client(self) -> httpx.Client:
        """Return a client that speaks to this engine."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)),
            base_url="http://engine",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=120.0,
        )

    def wait(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until the engine answers; `check` may raise to give up. Raises `EngineFailed` when it has died."""
        with self.client() as client:
            while not self._answers(client):
                if self.exit_code is not None:
                    raise EngineFailed(f"The process {self._name} ended at its start with exit code {self.exit_code}.")
                check()
                time.sleep(PROBE_INTERVAL)

    def stop(self) -> None:
        """End the engine and remove its socket."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        self._process.kill()
        self._process.wait()
        self.socket.unlink(missing_ok=True)

    def _answers(self, client: httpx.Client) -> bool:
        if not self.socket.exists():
            return False
        with suppress(httpx.TransportError):
            return client.get("/health", timeout=5.0).status_code == httpx.codes.OK
        return False


class EngineProcess(SocketProcess):
    """One engine."""

    def __init__(self, name: EngineName, folder: Path, model: Path, options: dict[str, Any], log: IO[bytes]) -> None:
        """Start the engine; `folder` takes its configuration, `options` are those that its module reads."""
        super().__init__(MODULES[name], socket_path(folder), folder / "engine-config.json", options, log)
        self.name, self.model = name, model


class RendererProcess(SocketProcess):
    """What renders an engine's prompts."""

    def __init__(self, folder: Path, model: Path, log: IO[bytes]) -> None:
        """Start it for the template and tokenizer of the model's folder."""
        socket = socket_path(folder / "renderer")
        super().__init__(RENDERER, socket, folder / "renderer-config.json", {"folder": str(model)}, log)


def complaint(log: Path, start: int) -> str | None:
    """Return the last error line that an engine wrote behind byte `start` of its log."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf8", errors="replace").splitlines()
    told = [line.partition(" E ")[2].strip() or line.strip() for line in lines if " E " in line or "Error" in line]
    return told[-1][:300] if told else None
