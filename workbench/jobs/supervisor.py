"""Starts one job, waits for it, and writes down how it ended; outlives the agent that started it.

Run as `python -I -S supervisor.py ATTEMPT_DIR` in a session of its own. It uses the standard library only, knows
no database, and leaves no process of the job behind.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

POLL_INTERVAL = 0.1  # seconds
HEARTBEAT_INTERVAL = 1.0  # seconds
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)


def write_json(path: str, value: object) -> None:
    """Write a JSON document whole or not at all."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def start_time(pid: int) -> int:
    """Return a process's start in clock ticks since boot."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def boot_id() -> str:
    """Return the id of this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def stay(number: int, frame: object) -> None:
    """Take note of a signal and go on: only the job's end or the cancel file ends a supervisor."""


def prepare_child() -> None:
    """Let the child die with this supervisor, and lead a process group of its own."""
    os.setpgid(0, 0)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:  # the supervisor died before the line above
        os._exit(1)


def start(folder: str, command: dict[str, object]) -> subprocess.Popen[bytes]:
    """Start the job in this environment with its output going to output.log, and write run.json."""
    with open(os.path.join(folder, "output.log"), "ab", buffering=0) as log:
        child: subprocess.Popen[bytes] = subprocess.Popen(
            command["argv"],  # type: ignore[call-overload]
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=prepare_child,
        )
    own = {"boot_id": boot_id(), "pid": os.getpid(), "start_time": start_time(os.getpid())}
    write_json(os.path.join(folder, "run.json"), {"supervisor": own, "pid": child.pid, "started_at": time.time()})
    return child


def descendants() -> list[int]:
    """Return the pids of every process below this one; orphans come here because it is a subreaper."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    found, frontier = [], [os.getpid()]
    while frontier:
        below = children.get(frontier.pop(), [])
        found += below
        frontier += below
    return found


def send(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def reap_orphans() -> None:
    """End what the job left running and collect it."""
    while pids := descendants():
        send(pids, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def wait(folder: str, child: subprocess.Popen[bytes], grace: float) -> bool:
    """Wait for the job's end and return whether it was asked to stop: TERM first, KILL after `grace` seconds."""
    deadline, beat = 0.0, 0.0
    while child.poll() is None:
        now = time.monotonic()
        if now - beat > HEARTBEAT_INTERVAL:
            os.utime(os.path.join(folder, "run.json"))
            beat = now
        if not deadline and os.path.exists(os.path.join(folder, "cancel")):
            deadline = now + grace
            os.killpg(child.pid, signal.SIGTERM)
        elif deadline and now > deadline:
            send(descendants(), signal.SIGKILL)
        time.sleep(POLL_INTERVAL)
    return bool(deadline)


def main(folder: str) -> None:
    """Run the job of an attempt folder to its end."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stay)  # a handler, because SIG_IGN would be inherited by the job
    with open(os.path.join(folder, "command.json")) as file:
        command = json.load(file)
    try:
        child = start(folder, command)
    except OSError as error:
        write_json(os.path.join(folder, "exit.json"), {"code": 127, "stopped": False, "reason": str(error)})
        return
    stopped = wait(folder, child, float(command["grace"]))
    reap_orphans()
    write_json(os.path.join(folder, "exit.json"), {"code": child.returncode, "stopped": stopped})


if __name__ == "__main__":
    main(sys.argv[1])
