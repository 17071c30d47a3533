"""A launcher that has everything imported and forks a server a line of its standard input: starts cost little.

`python forking.py HOME PORT TOKEN`: each line starts a server process and is answered with its pid.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    home, port, token = sys.argv[1:]
    os.environ["WORKBENCH_HOME"] = home
    os.environ["WORKBENCH_AGENT"] = "external"
    from jupyter_server.serverapp import ServerApp

    from workbench_server.app import WorkbenchServer, load_routes

    assert WorkbenchServer is not None
    load_routes()
    off = ("jupyterlab", "notebook_shim", "jupyter_lsp", "jupyter_server_terminals", "jupyter_server_proxy")
    extensions = {"workbench_server": True} | dict.fromkeys((*off, "voila.server_extension"), False)
    arguments = [f"--port={port}", "--port-retries=0", "--no-browser", "--allow-root", f"--ServerApp.root_dir={home}"]
    arguments += [f"--IdentityProvider.token={token}", f"--ServerApp.jpserver_extensions={extensions}"]
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            with open(f"{home}/server.log", "ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            ServerApp.launch_instance(argv=arguments)
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
