"""A private engine: a dockerd that stagelens starts and stops, apart from the system's engine.

Its data, socket, pid file, log, bridge and containerd namespace are separate, and it reads no system
configuration, so a system engine on the same machine is not affected. It is detached from the program that
starts it and runs until `stagelens engine stop`.
"""

from __future__ import annotations

from stagelens.engine.private.leases import LEASE_VARIABLE, lease, release
from stagelens.engine.private.lifecycle import start_blocker, start_private, stop_private
from stagelens.engine.private.limits import EngineLimits
from stagelens.engine.private.model import (
    PrivateEngine,
    grading_engine,
    grading_engines,
    is_grading_engine,
    private_engine,
)

__all__ = [
    "LEASE_VARIABLE",
    "EngineLimits",
    "PrivateEngine",
    "grading_engine",
    "grading_engines",
    "is_grading_engine",
    "lease",
    "private_engine",
    "release",
    "start_blocker",
    "start_private",
    "stop_private",
]
