"""Runs llama.cpp's server for one GGUF file: `python -m workbench.serving.llama_cpp CONFIG.json`.

A process of its own: llama.cpp ends it when something goes wrong.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import xllamacpp

from workbench.jobs.supervisor import LIBC, PR_SET_PDEATHSIG

PROMPT_CACHE_MIB = 128
BATCH = 256  # tokens; small enough that a client who has gone is noticed during a long prompt


def parameters(config: dict[str, Any]) -> xllamacpp.CommonParams:
    """Return llama.cpp's parameters for our own; `context_length` is that of each of the `parallel` slots."""
    params = xllamacpp.CommonParams()
    params.model.path = config["file"]
    params.model_alias = {"model"}
    params.n_parallel = config["parallel"]
    params.n_ctx = config["context_length"] * config["parallel"]
    params.n_batch = params.n_ubatch = BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.hostnames = [config["socket"]]
    params.api_keys = [config["key"]]
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.use_jinja = True
    params.prefill_assistant = False
    params.endpoint_slots = False
    params.ui = False
    params.verbosity = 1
    if config["exact"]:  # the cache would round what 32-bit weights compute
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return params


def main() -> None:
    """Serve until the parent dies or a signal comes."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    server = xllamacpp.Server(parameters(json.loads(Path(sys.argv[1]).read_bytes())))
    print(f"llama.cpp listens on {server.listening_address}", flush=True)  # noqa: T201
    signal.pause()


if __name__ == "__main__":
    main()
