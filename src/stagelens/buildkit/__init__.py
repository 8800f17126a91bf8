"""BuildKit for Python: build sessions, the control API and the gateway, on docker-py's connection.

This package works without the rest of stagelens; docs/reference/buildkit.md describes the protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelens.lazy_imports import lazy_face

if TYPE_CHECKING:
    from stagelens.buildkit.control import CacheRecord, Control
    from stagelens.buildkit.engine_faults import retry_transient, transient_fault
    from stagelens.buildkit.errors import (
        BuildCancelled,
        BuildError,
        BuildKitError,
        ConnectionLost,
        EngineFault,
        ResultError,
        RpcError,
        StreamReset,
        UpgradeRefused,
    )
    from stagelens.buildkit.filesync import FileSource, FileSync, FolderSource, MemorySource, Transfer
    from stagelens.buildkit.gateway import Gateway, GatewayUnsupported, ProcessEnded
    from stagelens.buildkit.image_build import BuildRequest, Cancel, cancel_build, solve
    from stagelens.buildkit.llb import LlbGraph, OpOutput, file_definition, image_definition
    from stagelens.buildkit.outputs import FileSend, LocalFolder, Output, TarFile
    from stagelens.buildkit.services import Auth, Env, Secrets, SessionService, SshAgents, Upload
    from stagelens.buildkit.session import Session, shared_key

__all__ = [
    "Auth",
    "BuildCancelled",
    "BuildError",
    "BuildKitError",
    "BuildRequest",
    "CacheRecord",
    "Cancel",
    "ConnectionLost",
    "Control",
    "EngineFault",
    "Env",
    "FileSend",
    "FileSource",
    "FileSync",
    "FolderSource",
    "Gateway",
    "GatewayUnsupported",
    "LlbGraph",
    "LocalFolder",
    "MemorySource",
    "OpOutput",
    "Output",
    "ProcessEnded",
    "ResultError",
    "RpcError",
    "Secrets",
    "Session",
    "SessionService",
    "SshAgents",
    "StreamReset",
    "TarFile",
    "Transfer",
    "UpgradeRefused",
    "Upload",
    "cancel_build",
    "file_definition",
    "image_definition",
    "retry_transient",
    "shared_key",
    "solve",
    "transient_fault",
]

_MODULES = {
    "control": ("CacheRecord", "Control"),
    "engine_faults": ("retry_transient", "transient_fault"),
    "errors": (
        "BuildCancelled",
        "BuildError",
        "BuildKitError",
        "ConnectionLost",
        "EngineFault",
        "ResultError",
        "RpcError",
        "StreamReset",
        "UpgradeRefused",
    ),
    "filesync": ("FileSource", "FileSync", "FolderSource", "MemorySource", "Transfer"),
    "gateway": ("Gateway", "GatewayUnsupported", "ProcessEnded"),
    "image_build": ("BuildRequest", "Cancel", "cancel_build", "solve"),
    "llb": ("LlbGraph", "OpOutput", "file_definition", "image_definition"),
    "outputs": ("FileSend", "LocalFolder", "Output", "TarFile"),
    "services": ("Auth", "Env", "Secrets", "SessionService", "SshAgents", "Upload"),
    "session": ("Session", "shared_key"),
}
__getattr__, __dir__ = lazy_face(__name__, _MODULES)
