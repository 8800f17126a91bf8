"""Registry credentials for the engine's pulls: from docker's config file and its credential helpers."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import docker
from docker.auth import AuthConfig, resolve_index_name  # pyright: ignore[reportMissingTypeStubs]
from docker.errors import DockerException

from stagelens.buildkit import dockerpy
from stagelens.buildkit.grpc import Handler
from stagelens.buildkit.proto.buildkit_pb2 import CredentialsRequest, CredentialsResponse
from stagelens.buildkit.services import unary_handler


class Auth:
    """Answers with the credentials of one registry at a time.

    BuildKit can also let the client fetch a registry's tokens (GetTokenAuthority, VerifyTokenAuthority,
    FetchToken). That needs all three: where the first one is unimplemented, as here, it asks for
    credentials and fetches the token itself (util/resolver/authorizer.go), which every version can.
    """

    def __init__(self, api: docker.APIClient) -> None:
        self._config = cast(AuthConfig, dockerpy.auth_configs(api))

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        return {"/moby.filesync.v1.Auth/Credentials": unary_handler(self._credentials)}

    def _credentials(self, message: bytes) -> CredentialsResponse:
        host = CredentialsRequest.FromString(message).host
        # The engine knows Docker Hub by its registry's name, the config file by its old index address.
        name = "docker.io" if host in ("registry-1.docker.io", "index.docker.io") else host
        found: dict[str, Any] | None = None
        with contextlib.suppress(DockerException):  # a helper that fails: pull without login, as the CLI does
            found = self._config.resolve_authconfig(resolve_index_name(name))
        if not found:
            return CredentialsResponse()
        if token := found.get("IdentityToken") or found.get("identitytoken"):
            return CredentialsResponse(secret=token)
        user = found.get("Username") or found.get("username") or ""
        secret = found.get("Password") or found.get("password") or ""
        return CredentialsResponse(username=user, secret=secret)
