"""Who a process is. A pid alone is reused; with its start time and the boot id it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def boot_id() -> str:
    """Return the id of this boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Return a process's start in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19]) if fields[0] not in "ZX" else None


def identity(pid: int) -> dict[str, Any]:
    """Describe a live process so that it can be recognised later."""
    return {"boot_id": boot_id(), "pid": pid, "start_time": start_time(pid)}


def is_alive(who: dict[str, Any]) -> bool:
    """Tell whether the very process that `identity` described still runs."""
    started = start_time(int(who["pid"]))
    return who["boot_id"] == boot_id() and started is not None and started == who["start_time"]
