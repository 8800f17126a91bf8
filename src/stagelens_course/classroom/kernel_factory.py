"""Creation of the kernels that grade and validate: kernels of this Python, unreachable by other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

from jupyter_client.manager import KernelManager
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager

# All kernels of a user share IPython's history file. If another program locks it, a kernel waits, fails after
# five seconds, and may even move the file away. Nobody needs the history of grading notebooks.
KERNEL_ARGUMENTS = ("--HistoryManager.enabled=False",)
# Code that prepares a kernel for the next notebook, in `folder`. The folder of the last notebook is gone, and
# IPython's reset needs a working folder. The reset also collects garbage, which takes 15 ms for all imported
# modules unless they are frozen.
RESET_CODE = """
import os
os.chdir({folder!r})
get_ipython().reset(new_session=True)
__import__("gc").freeze()
"""
_MAX_SOCKET_PATH = 100  # bytes; the limit of a UNIX socket's path is 108, on macOS 104

ManagerType = TypeVar("ManagerType", bound=KernelManager)


def create_kernel_manager(
    kind: type[ManagerType], folder: Path, name: str = CURRENT_ENV_KERNEL_NAME
) -> ManagerType:
    """Create the manager of a kernel; start the kernel with `KERNEL_ARGUMENTS`.

    The kernel listens on UNIX sockets where their path is short enough. A TCP port is chosen before the
    kernel binds it, and other users can reach it.

    Parameters
    ----------
    kind
        The class of the manager.
    folder
        The folder for the connection file and the sockets.
    name
        The name of a kernelspec; by default a kernel of this Python.
    """
    socket = folder / "k"
    use_sockets = sys.platform != "win32" and len(str(socket)) < _MAX_SOCKET_PATH
    transport: dict[str, Any] = {"transport": "ipc", "ip": str(socket)} if use_sockets else {}
    return kind(
        kernel_name=name,
        kernel_spec_manager=NbvalKernelspecManager(),
        connection_file=str(folder / "kernel.json"),
        **transport,
    )
