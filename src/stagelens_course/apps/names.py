"""The names of one namespace's network, containers and images; different namespaces never share one."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass

NETWORK = "nat"
# What `up` makes carries these: whose it is (the network's name), which service, made by which call, from
# what, and a sentence about it.
LABEL = "org.stagelens.app"
SERVICE = "org.stagelens.app.service"
CALL = "org.stagelens.app.call"
RECIPE = "org.stagelens.app.recipe"
NOTE = "org.stagelens.app.note"

_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?")
# A name that looks like one with a hash gets one too, so that it cannot be another's.
_HASHED = re.compile(r"-[0-9a-f]{10}$")


@dataclass(frozen=True, slots=True)
class Names:
    """What things are called; `namespace` is None for the chapter's own names."""

    namespace: str | None

    @property
    def network(self) -> str:
        """The network's name, which also labels what belongs to the namespace."""
        return self._with(NETWORK)

    def container(self, service: str) -> str:
        """The container's name of a service."""
        return self._with(service)

    def image(self, repository: str) -> str:
        """The image's name: each namespace has a tag of its own."""
        return f"{repository}:{self.namespace or 'latest'}"

    def _with(self, name: str) -> str:
        return f"{name}-{self.namespace}" if self.namespace else name


def names_of(namespace: str | None) -> Names:
    """The names of a namespace; None takes the JupyterHub user's where there is one, "" the chapter's own."""
    chosen = os.environ.get("JUPYTERHUB_USER", "") if namespace is None else namespace
    return Names(sanitise(chosen) if chosen else None)


def sanitise(name: str) -> str:
    """A name that containers, networks and image tags may all have; no two names give the same."""
    if _PLAIN.fullmatch(name) and not _HASHED.search(name) and name != "latest":
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:20].strip("-")
    return f"{stem or 'x'}-{digest}"
