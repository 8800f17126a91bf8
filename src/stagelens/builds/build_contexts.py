"""Build contexts beside the main one, which stages and `COPY --from` use by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stagelens.dockerfile import Dockerfile, context_name
from stagelens.engine import EngineInfo
from stagelens.errors import StagelensError

_ADDRESS = re.compile(r"(?:docker-image|https?|git|ssh)://|git@")
# The kinds of addresses that are refused, and what serves the same purpose.
_REFUSED = {
    "target:": (
        "only docker buildx bake builds several targets at once",
        "build that target first with a tag, and give docker-image://TAG",
    ),
    "oci-layout:": (
        "stagelens sends no image layouts to the engine",
        "docker load the layout's image, and give docker-image://IMAGE",
    ),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._/:@-]*")
# Names that never stand for a build context.
_RESERVED = ("scratch", "context")
_FIRST_ENGINE = 23


@dataclass(frozen=True, slots=True)
class BuildContext:
    """A build context beside the main one.

    Attributes
    ----------
    name
        The name that the Dockerfile uses.
    address
        The address for BuildKit: `local:NAME` for a folder, `docker-image://IMAGE` or a URL.
    folder
        The folder that the session sends; None for an image or a URL.
    """

    name: str
    address: str
    folder: Path | None = None

    @property
    def tree(self) -> str:
        """The name of the folder's tree in the session."""
        return self.address.removeprefix("local:")


def read_build_contexts(contexts: Mapping[str, str | Path] | None) -> tuple[BuildContext, ...]:
    """Check build contexts as users name them.

    Parameters
    ----------
    contexts
        A folder, `docker-image://IMAGE`, or the URL of a Git repository or a file for each name.

    Raises
    ------
    StagelensError
        If a name is invalid, a folder does not exist, or the kind of address is not supported.
    """
    return tuple(_read(name, value) for name, value in (contexts or {}).items())


def check_engine(info: EngineInfo, dockerfile: Dockerfile) -> None:
    """Refuse build contexts for an engine that would ignore them.

    Parameters
    ----------
    info
        The engine.
    dockerfile
        The Dockerfile to build, whose `# syntax=` may bring a newer frontend.

    Raises
    ------
    StagelensError
        If the engine is older than 23 and the Dockerfile names no frontend.
    """
    major = info.version.partition(".")[0]
    if not dockerfile.build_contexts or dockerfile.syntax or not major.isdecimal():
        return
    if int(major) < _FIRST_ENGINE:
        raise StagelensError(
            "This engine has no build contexts beside the main one.",
            where=dockerfile.path,
            why=f"the frontend of Docker Engine {info.version} ignores them",
            remedy="begin the file with # syntax=docker/dockerfile:1, or use Docker Engine 23 or newer",
        )


def _read(name: str, value: str | Path) -> BuildContext:
    short = context_name(name)
    if not _NAME.fullmatch(short) or short in _RESERVED:
        raise _refused(name, f"{name!r} cannot name a build context", "use lower-case letters and digits")
    text = str(value)
    for kind, (why, remedy) in _REFUSED.items():
        if text.startswith(kind):
            raise _refused(name, why, remedy)
    if isinstance(value, str) and _ADDRESS.match(text):
        return BuildContext(short, text)
    folder = Path(value)
    if not folder.is_dir():
        raise _refused(name, f"{text} is not a folder", "give a folder, docker-image://IMAGE or a URL")
    tree = f"_{short}" if short == "dockerfile" else short
    return BuildContext(short, f"local:{tree}", folder)


def _refused(name: str, why: str, remedy: str) -> StagelensError:
    return StagelensError(
        "This build context cannot be used.", where=f"build context {name}", why=why, remedy=remedy
    )
