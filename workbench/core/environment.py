"""The environment that child processes get: what programs need to run, and none of the server's secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping

ALLOWED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "VIRTUAL_ENV",
        "PYTHONPATH",
    }
)
ALLOWED_PREFIXES = ("LC_", "HF_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "MKL_", "TOKENIZERS_", "XDG_", "WORKBENCH_FAULT")
SECRETS = frozenset({"HF_TOKEN"})


def scrubbed(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without anything that is not known to be harmless, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if name in ALLOWED or name.startswith(ALLOWED_PREFIXES)}
    return {name: value for name, value in kept.items() if name not in SECRETS} | dict(extra)
