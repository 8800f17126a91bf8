"""BuildKit for Python: build sessions, the Control API and the gateway on docker-py's own connection.

Usable without the rest of stagelens; docs/buildkit.md describes the protocol.
"""

from stagelens.buildkit.again import gave_up, retry_transient
from stagelens.buildkit.auth import Auth
from stagelens.buildkit.control import CacheRecord, Control
from stagelens.buildkit.errors import (
    BuildCancelled,
    BuildError,
    BuildKitError,
    ConnectionLost,
    EngineGaveUp,
    ResultError,
    RpcError,
    StreamReset,
    UpgradeRefused,
)
from stagelens.buildkit.filesync import FileSync, Source, Texts, Transfer, Tree
from stagelens.buildkit.gateway import Gateway, GatewayRefused, ProcessEnded
from stagelens.buildkit.llb import Edge, Graph, image_definition
from stagelens.buildkit.results import FileSend, LocalFolder, Output, TarFile
from stagelens.buildkit.services import Env, Secrets, Service, SshAgents, Upload
from stagelens.buildkit.session import Session, shared_key
from stagelens.buildkit.solve import BuildRequest, Cancel, cancel_build, solve

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
    "Edge",
    "EngineGaveUp",
    "Env",
    "FileSend",
    "FileSync",
    "Gateway",
    "GatewayRefused",
    "Graph",
    "LocalFolder",
    "Output",
    "ProcessEnded",
    "ResultError",
    "RpcError",
    "Secrets",
    "Service",
    "Session",
    "Source",
    "SshAgents",
    "StreamReset",
    "TarFile",
    "Texts",
    "Transfer",
    "Tree",
    "UpgradeRefused",
    "Upload",
    "cancel_build",
    "gave_up",
    "image_definition",
    "retry_transient",
    "shared_key",
    "solve",
]
