"""Choose a service's port on this machine: the wanted one, or the next that is free."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

LOCAL = "127.0.0.1"
ALL_ADDRESSES = "0.0.0.0"
# Tried after the wanted port; browsers refuse some ports between 989 and 8000.
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


def candidates(wanted: int, unavailable: Iterable[int]) -> Iterator[int]:
    """Iterate over the wanted port and the next ones, without those that are known to be unavailable."""
    busy = set(unavailable)
    for port in (wanted, *(port for port in _NEXT if port != wanted)):
        if port not in busy:
            yield port


def published(rows: Iterable[dict[str, Any]]) -> set[int]:
    """Return the ports that containers publish, from the rows of the engine's container list."""
    return {
        int(port["PublicPort"]) for row in rows for port in row.get("Ports") or () if "PublicPort" in port
    }


def refusal_reason(text: str) -> str | None:
    """Return why a port is unavailable, from the text of an engine's error; None for other errors."""
    if _PRIVILEGED_ERROR.search(text):
        return PRIVILEGED
    return BUSY if _BUSY_ERROR.search(text) else None


def is_in_use(port: int) -> bool:
    """Return whether a program on this machine listens on 127.0.0.1 or all addresses at that port."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, port))
        except PermissionError:
            return False
        except OSError:
            return True
    return False


def reachable_host(address: str, public: bool) -> str | None:
    """Return the host where this machine reaches published ports of an engine; None if it cannot."""
    parts = urlsplit(address)
    if parts.scheme in ("unix", "npipe", "") or parts.hostname in ("localhost", LOCAL, "::1"):
        return LOCAL
    return parts.hostname if public else None
