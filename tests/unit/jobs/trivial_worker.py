"""A job for tests: logs as many steps as its spec says, and ends as its spec says."""

import json
import os
import signal
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
given = json.loads((folder / "spec.json").read_text())
spec = given["spec"]
first_step = spec.get("resume_step", 0) if given["resume"] else 0


def write(name: str, value: object) -> None:
    temporary = folder / f".{name}"
    temporary.write_text(json.dumps(value))
    temporary.replace(folder / name)


if given["resume"]:
    write("resume.json", {"step": first_step})
with (folder / "metrics.jsonl").open("a") as file:
    for number in range(1, spec["steps"] + 1):
        line = {"seq": given["last_seq"] + number, "step": first_step + number, "total_steps": 100, "at": time.time()}
        file.write(json.dumps(line | {"values": {"loss": 1 / number}}) + "\n")
        file.flush()
        time.sleep(spec.get("pause", 0))
print(f"Logged {spec['steps']} steps.", flush=True)

end = spec["end"]
if end == "wait":
    while not (folder / "go").exists():
        time.sleep(0.01)
    end = "well"
if end == "well":
    write("result.json", {"answer": 42})
elif end == "error":
    write("error.json", {"code": "trivial.refused", "message": "The data do not fit."})
    sys.exit(1)
elif end == "crash":
    sys.exit(3)
elif end == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
