"""Programs of the operating system, run so that an interrupt leaves none of them behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stagelens.images.errors import ReplicaFailed

PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


def run(command: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run a program and return what it printed; its whole process group ends with us.

    Raises
    ------
    ReplicaFailed: it is not there or it failed; the error holds the last lines it printed.
    """
    environment = os.environ | {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ReplicaFailed(f"{command[0]} could not be started.", why=str(error)) from error
    try:
        output, _ = process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        raise ReplicaFailed(
            f"{command[0]} failed with exit code {process.returncode}.",
            where=" ".join(command),
            why="\n".join(output.splitlines()[-8:]),
            remedy="mend what it says, then run: stagelens images --source replica",
        )
    return output
