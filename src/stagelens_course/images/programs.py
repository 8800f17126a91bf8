"""Run programs of the operating system so that an interrupt leaves none of them behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stagelens.buildkit import Cancel
from stagelens.concurrency import run_cancellable
from stagelens_course.images.model import ReplicaFailed

PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


def run_program(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    cancel: Cancel | None = None,
    temporary: Path | None = None,
) -> str:
    """Run a program and return what it printed.

    A cancel or an interrupt kills the program's whole process group.

    Parameters
    ----------
    command
        The program and its arguments.
    cwd
        The working folder; by default this process's.
    cancel
        Kills the program when it is called.
    temporary
        The folder for the program's temporary files, which a killed program cannot remove.

    Raises
    ------
    ReplicaFailed
        If the program does not exist or failed; the error holds the last lines that it printed.
    """
    cancel = cancel or Cancel()
    # An interrupt can hit the main thread while the program is being started, and nothing would end the
    # program then. Another thread is never interrupted: it starts the program, and ends it on a cancel.
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
    cancel.on_request(lambda: _kill(process))
    output, _ = process.communicate()
    if process.returncode:
        raise ReplicaFailed(
            f"{command[0]} failed with exit code {process.returncode}.",
            where=" ".join(command),
            why="\n".join(output.splitlines()[-8:]),
            remedy="fix what the message says, then run: stagelens images --source replica",
        )
    return output


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
