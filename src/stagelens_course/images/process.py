"""Programs of the operating system, run so that an interrupt leaves none of them behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stagelens.buildkit import Cancel
from stagelens.concurrency import run_cancellable
from stagelens_course.images.errors import ReplicaFailed

PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    cancel: Cancel | None = None,
    temporary: Path | None = None,
) -> str:
    """Run a program and return what it printed; its whole process group is killed by `cancel`, or with us.

    temporary: the folder for its temporary files, which it then has no time to remove.

    Raises
    ------
    ReplicaFailed: it is not there or it failed; the error holds the last lines it printed.
    """
    cancel = cancel or Cancel()
    # An interrupt can hit the main thread while the program is being started, and nobody would know of
    # the program then. Another thread is never interrupted: it starts it, and ends it when told.
    return run_cancellable(lambda _: _run(command, cwd, cancel, temporary), cancel)


def _run(command: Sequence[str], cwd: Path | None, cancel: Cancel, temporary: Path | None) -> str:
    environment = os.environ | {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    environment |= {} if temporary is None else {"TMPDIR": str(temporary)}
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
    cancel.on_request(lambda: _end(process))
    output, _ = process.communicate()
    if process.returncode:
        raise ReplicaFailed(
            f"{command[0]} failed with exit code {process.returncode}.",
            where=" ".join(command),
            why="\n".join(output.splitlines()[-8:]),
            remedy="mend what it says, then run: stagelens images --source replica",
        )
    return output


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
