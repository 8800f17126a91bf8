"""Find, describe and start a container engine; only this package creates Docker clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelens.lazy_imports import lazy_face

if TYPE_CHECKING:
    from stagelens.engine.discovery import connect
    from stagelens.engine.docker_client import EngineLost
    from stagelens.engine.errors import EngineNotFound, EngineStartFailed
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

_MODULES = {
    "discovery": ("connect",),
    "docker_client": ("EngineLost",),
    "errors": ("EngineNotFound", "EngineStartFailed"),
    "model": ("Engine", "EngineInfo", "ProgressCallback", "RejectedCandidate"),
    "private.leases": ("LEASE_VARIABLE", "lease", "release"),
    "private.lifecycle": ("start_blocker", "start_private", "stop_private"),
    "private.limits": ("EngineLimits",),
    "private.model": (
        "PrivateEngine",
        "grading_engine",
        "grading_engines",
        "is_grading_engine",
        "private_engine",
    ),
    "removal": ("remove_container", "remove_network"),
}
__getattr__, __dir__ = lazy_face(__name__, _MODULES)
