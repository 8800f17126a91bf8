"""Find, describe and start a container engine; only this package creates Docker clients."""

from __future__ import annotations

from stagelens.engine.discovery import connect
from stagelens.engine.errors import EngineLost, EngineNotFound, EngineStartFailed
from stagelens.engine.model import Engine, EngineInfo, ProgressCallback, RejectedCandidate
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
from stagelens.engine.removal import remove_container, remove_network

__all__ = [
    "LEASE_VARIABLE",
    "Engine",
    "EngineInfo",
    "EngineLimits",
    "EngineLost",
    "EngineNotFound",
    "EngineStartFailed",
    "PrivateEngine",
    "ProgressCallback",
    "RejectedCandidate",
    "connect",
    "grading_engine",
    "grading_engines",
    "is_grading_engine",
    "lease",
    "private_engine",
    "release",
    "remove_container",
    "remove_network",
    "start_blocker",
    "start_private",
    "stop_private",
]
