"""Names of a namespace's network, containers and images; different namespaces never share one."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

NETWORK = "nat"
# Labels of what `up` makes: the network's name, the service, the call of `up`, a digest of its settings, a
# remark, the user of a JupyterHub, and the notebook.
APP_LABEL = "org.stagelens.app"
SERVICE_LABEL = "org.stagelens.app.service"
CALL_LABEL = "org.stagelens.app.call"
RECIPE_LABEL = "org.stagelens.app.recipe"
NOTE_LABEL = "org.stagelens.app.note"
OWNER_LABEL = "org.stagelens.app.owner"
NOTEBOOK_LABEL = "org.stagelens.app.notebook"

_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?")
# A name that looks hashed is hashed, too, so that it cannot equal the result for another name.
_HASHED = re.compile(r"-[0-9a-f]{10}$")


@dataclass(frozen=True, slots=True)
class ResourceNames:
    """Names in a namespace; None stands for the names of the chapter."""

    namespace: str | None

    @property
    def network(self) -> str:
        """Name of the network, which is also the label of what belongs to the namespace."""
        return self._with(NETWORK)

    def container(self, service: str) -> str:
        """Return the name of a service's container."""
        return self._with(service)

    def image(self, repository: str) -> str:
        """Return the name of an image; each namespace has a separate tag."""
        return f"{repository}:{self.namespace or 'latest'}"

    def _with(self, name: str) -> str:
        return f"{name}-{self.namespace}" if self.namespace else name


def resource_names(namespace: str | None) -> ResourceNames:
    """Return the names of a namespace.

    Parameters
    ----------
    namespace
        A name. None takes the JupyterHub user's name if there is one; "" takes the names of the chapter.
    """
    chosen = owner() if namespace is None else namespace
    return ResourceNames(sanitize(chosen) if chosen else None)


def owner() -> str:
    """Return the user's name on a JupyterHub, whose users may share an engine; "" elsewhere."""
    return os.environ.get("JUPYTERHUB_USER", "")


def notebook() -> str:
    """Return the name of the notebook whose kernel this is, without a suffix; "" in other programs."""
    return Path(os.environ.get("JPY_SESSION_NAME", "")).stem


def sanitize(name: str) -> str:
    """Return a valid name for containers, networks and image tags; different names stay different."""
    if _PLAIN.fullmatch(name) and not _HASHED.search(name) and name != "latest":
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:20].strip("-")
    return f"{stem or 'x'}-{digest}"
