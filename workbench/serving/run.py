"""The serve worker: converts and checks the model, starts its engine, and keeps it up until it is stopped or idle."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.core.clock import utcnow
from workbench.inference.weights import weights_sha256
from workbench.jobs.attempt import Attempt, StopRequest, run_worker
from workbench.jobs.files import write_json
from workbench.serving.convert import CONVERTER, convert, stored_type
from workbench.serving.engines import Engine, EngineFailed
from workbench.serving.files import ServeFolder
from workbench.serving.process import EngineProcess, RendererProcess, SocketProcess, complaint
from workbench.serving.schemas import Certificate, EngineName, Progress, ServeSpec
from workbench.serving.shapes import shape_of
from workbench.serving.vocabulary import NotConvertible

LOOK_INTERVAL = 0.1  # seconds between two looks at the engine
BACK_OFF = (0.2, 1.0, 3.0, 10.0, 30.0)  # seconds before each try to start an engine that has died again
STEADY = 60.0  # seconds after which an engine that runs counts as well again
SMALL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")

logger = logging.getLogger("workbench")


class Serving:
    """One deployment at work."""

    def __init__(self, attempt: Attempt, stop: StopRequest) -> None:
        self._attempt = attempt
        self._stop = stop
        self._spec = ServeSpec.model_validate(attempt.spec)
        self._wanted = self._spec.deploy
        self._model = attempt.resolve(self._spec.path)
        self._folder = ServeFolder(attempt.folder)
        self._progress = Progress(phase="checking")

    def run(self) -> None:
        """Serve until idle for the time to live; raises `Stopped` when asked to end."""
        self._folder.used.touch()
        name, options = self._choose()
        try:
            self._keep(name, options)
        finally:
            self._folder.engine.unlink(missing_ok=True)
        self._tell(phase="stopping", detail=None)

    def _choose(self) -> tuple[EngineName, dict[str, Any]]:
        threads = {"threads": self._wanted.threads}
        if self._wanted.engine != "transformers":
            try:
                return "llama.cpp", self._prepare() | threads
            except NotConvertible as error:
                if self._wanted.engine == "llama.cpp":
                    raise
                logger.info("The transformers engine takes over: %s", error.detail)
                self._tell(fallback_reason=error.detail)
        longest = json.loads((self._model / "config.json").read_bytes()).get("max_position_embeddings")
        context = min(self._wanted.context_length, longest or self._wanted.context_length)
        self._tell(engine="transformers", context_length=context, parallel=1)
        return "transformers", {"folder": str(self._model)} | threads

    def _prepare(self) -> dict[str, Any]:
        """Return the options of llama.cpp on a checked and converted file; raises `NotConvertible`."""
        self._tell(phase="checking", detail="The model’s shape and tokenizer are compared under llama.cpp.")
        shape = shape_of(json.loads((self._model / "config.json").read_bytes()))
        certificate = self._certificate()
        self._tell(certificate=certificate)
        if not certificate.holds or certificate.pre_tokenizer is None:
            raise NotConvertible(certificate.reason)
        file, types = self._converted(certificate.pre_tokenizer)
        context = min(self._wanted.context_length, shape.context_length)
        self._tell(
            engine="llama.cpp",
            tensor_types=types,
            size_bytes=file.stat().st_size,
            context_length=context,
            parallel=self._wanted.parallel,
        )
        exact = set(types) == {"F32"}
        return {"file": str(file), "context_length": context, "parallel": self._wanted.parallel, "exact": exact}

    def _certificate(self) -> Certificate:
        """Return what the gate found for this shape and tokenizer, now or earlier."""
        kept = self._gguf / "certificates" / f"{self._shape_sha256()}.json"
        if kept.is_file():
            return Certificate.model_validate_json(kept.read_bytes())
        work = self._attempt.folder / "gate"
        argv = [sys.executable, "-m", "workbench.serving.gate", str(self._model), str(work)]
        gate = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        while gate.poll() is None:
            if self._stop.made:
                gate.kill()
            self._stop.check()
            time.sleep(LOOK_INTERVAL)
        found = work / "certificate.json"
        if not found.is_file():
            raise NotConvertible(f"The comparison with llama.cpp broke off with exit code {gate.returncode}.")
        kept.parent.mkdir(parents=True, exist_ok=True)
        certificate = Certificate.model_validate_json(found.read_bytes())
        write_json(kept, certificate.model_dump())
        for path in work.rglob("*.gguf"):
            path.unlink()
        return certificate

    def _shape_sha256(self) -> str:
        config = json.loads((self._model / "config.json").read_bytes())
        for name in ("transformers_version", "_name_or_path", "dtype", "torch_dtype"):
            config.pop(name, None)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for name in SMALL_FILES[1:]:
            digest.update((self._model / name).read_bytes() if (self._model / name).is_file() else b"\0")
        versions = [CONVERTER, *(version(name) for name in ("xllamacpp", "gguf", "transformers"))]
        digest.update(json.dumps(versions).encode())
        return digest.hexdigest()

    def _converted(self, pre: str) -> tuple[Path, dict[str, int]]:
        """Return the model's file, made now or earlier, and how many tensors have each type."""
        self._tell(phase="converting", detail=None, fraction=0.0)
        kind = stored_type(self._model) if self._wanted.quantization == "stored" else self._wanted.quantization
        weights = self._spec.weights_sha256 or weights_sha256(self._model)
        mark = hashlib.sha256(f"{weights} {self._shape_sha256()} {pre}".encode()).hexdigest()
        file = self._gguf / f"{mark[:32]}-{kind}.gguf"
        types = file.with_suffix(".json")
        if not (file.is_file() and types.is_file()):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(types, convert(self._model, file, kind, pre, self._written))
        return file, json.loads(types.read_bytes())

    def _written(self, done: int, total: int) -> None:
        self._stop.check()
        if time.monotonic() - self._told_at > LOOK_INTERVAL:
            self._tell(fraction=done / total)

    def _keep(self, name: EngineName, options: dict[str, Any]) -> None:
        """Start the engine, and again whenever it has died, until the deployment was idle for its time to live."""
        deaths = 0
        log = self._attempt.folder / "output.log"
        while True:
            self._tell(phase="restarting" if deaths else "starting", fraction=None, detail=None)
            begun, start = time.monotonic(), log.stat().st_size if log.exists() else 0
            renderer = RendererProcess(self._attempt.folder, self._model, sys.stdout.buffer)
            process = EngineProcess(name, self._attempt.folder, self._model, options, sys.stdout.buffer)
            try:
                renderer.wait(self._stop.check)
                process.wait(self._stop.check)
                self._ready(process, renderer)
                if self._watch(process, renderer):
                    return
                why = f"The {name} engine or its renderer ended ({process.exit_code}, {renderer.exit_code})."
            except EngineFailed as error:
                told = complaint(log, start) if log.exists() else None
                why = f"{error.detail} {told or ''}".strip()
            finally:
                self._folder.engine.unlink(missing_ok=True)
                process.stop()
                renderer.stop()
            deaths = 1 if time.monotonic() - begun > STEADY else deaths + 1
            if deaths > len(BACK_OFF):
                raise EngineFailed(f"{why} It was started {deaths} times in a row, and is given up.")
            logger.warning("%s It is started again.", why)
            self._tell(phase="restarting", detail=why, restarts=self._progress.restarts + 1, ready_at=None)
            self._pause(BACK_OFF[deaths - 1])

    def _ready(self, process: EngineProcess, renderer: RendererProcess) -> None:
        engine = Engine(process.name, process.socket, process.key, str(process.model), renderer.socket, renderer.key)
        write_json(self._folder.engine, engine.record(), mode=0o600)
        self._folder.used.touch()
        self._tell(phase="ready", detail=None, ready_at=utcnow())
        logger.info("Ready on %s.", process.name)

    def _watch(self, *processes: SocketProcess) -> bool:
        """Wait for the death of any of them (False) or the end of the time to live (True)."""
        while all(process.exit_code is None for process in processes):
            self._stop.check()
            if self._idle():
                return True
            time.sleep(LOOK_INTERVAL)
        return False

    def _idle(self) -> bool:
        ttl = self._wanted.ttl_seconds
        return ttl is not None and time.time() - self._folder.used.stat().st_mtime > ttl

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._stop.check()
            time.sleep(LOOK_INTERVAL)

    def _tell(self, **changes: Any) -> None:
        self._progress = self._progress.model_copy(update=changes)
        self._told_at = time.monotonic()
        write_json(self._folder.progress, self._progress.model_dump(mode="json"))

    @property
    def _gguf(self) -> Path:
        return self._attempt.home / "gguf"


def work(attempt: Attempt, stop: StopRequest) -> None:
    """Serve, and end with a result once the deployment was idle for long enough."""
    serving = Serving(attempt, stop)
    serving.run()
    attempt.write("result", {"ended": "idle"})


def main() -> None:
    """Run the attempt named on the command line."""
    sys.exit(run_worker(work, sys.argv[1:]))


if __name__ == "__main__":
    main()
