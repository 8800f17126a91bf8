"""Which port of this machine a service gets: the wanted one, or the next that is free."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

LOCAL = "127.0.0.1"
ANYWHERE = "0.0.0.0"
# Tried after the wanted one; browsers refuse some ports between 989 and 8000.
_NEXT = (*range(803, 989), *range(8800, 9800))
UNPRIVILEGED = 1024  # ports from here on need no root
BUSY = "is in use by another program"
PRIVILEGED = "may not be used without root"
_BUSY_ERROR = re.compile(
    r"port is already allocated|address already in use|ports are not available|access permissions", re.I
)
_PRIVILEGED_ERROR = re.compile(
    r"privileged port|bind: permission denied|rootlessport.*permission denied", re.I
)


def candidates(wanted: int, taken: Iterable[int]) -> Iterator[int]:
    """The wanted port, then the next ones; none that is known to be taken."""
    busy = set(taken)
    for port in (wanted, *(port for port in _NEXT if port != wanted)):
        if port not in busy:
            yield port


def published(rows: Iterable[dict[str, Any]]) -> set[int]:
    """The ports of the engine's machine that containers publish, from the engine's container list."""
    return {
        int(port["PublicPort"]) for row in rows for port in row.get("Ports") or () if "PublicPort" in port
    }


def refusal(text: str) -> str | None:
    """Why an engine's error says that a port cannot be had, as part of a sentence; None for other errors."""
    if _PRIVILEGED_ERROR.search(text):
        return PRIVILEGED
    return BUSY if _BUSY_ERROR.search(text) else None


def in_use(port: int) -> bool:
    """Whether a program on this machine listens on 127.0.0.1 at that port, or on all its addresses."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, port))
        except PermissionError:
            return False
        except OSError:
            return True
    return False


def host_of(address: str, public: bool) -> str | None:
    """The host under which this machine reaches what the engine at `address` publishes; None: it cannot."""
    parts = urlsplit(address)
    if parts.scheme in ("unix", "npipe", "") or parts.hostname in ("localhost", LOCAL, "::1"):
        return LOCAL
    return parts.hostname if public else None
