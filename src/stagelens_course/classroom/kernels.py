"""How the kernels of grading are made: of this Python, with nothing that another program could get at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

from jupyter_client.manager import KernelManager
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager

START_SECONDS = 120
# IPython's history is one file for all kernels of a user. It waits for whoever has it locked, fails after
# five seconds, and may then even move the file away; nobody looks for a grading notebook's cells in it.
ARGUMENTS = ("--HistoryManager.enabled=False",)
# Makes a kernel ready for the next notebook, in `folder`. The last one's is gone by now, and IPython's reset
# asks where it is. It also looks for garbage, among all modules (15 ms) unless what is there is set aside.
FORGET = """
import os
os.chdir({folder!r})
get_ipython().reset(new_session=True)
__import__("gc").freeze()
"""
_SOCKET_PATH = 100  # bytes; a UNIX socket's path has 108 at most, on macOS 104

M = TypeVar("M", bound=KernelManager)


def manager(kind: type[M], folder: Path, name: str = CURRENT_ENV_KERNEL_NAME) -> M:
    """A manager of a kernel whose files are in `folder`, to be started with `ARGUMENTS`.

    Its sockets are there, too: a port is chosen before the kernel takes it, and others may reach it.
    """
    socket = folder / "k"
    local = sys.platform != "win32" and len(str(socket)) < _SOCKET_PATH
    transport: dict[str, Any] = {"transport": "ipc", "ip": str(socket)} if local else {}
    return kind(
        kernel_name=name,
        kernel_spec_manager=NbvalKernelspecManager(),
        connection_file=str(folder / "kernel.json"),
        **transport,
    )
