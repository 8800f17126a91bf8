"""The base images of the course: their names, the state of each on an engine, and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stagelens.errors import StagelensError

Origin = Literal["published", "replica", "missing"]
ImageSource = Literal["auto", "pull", "replica"]

REPLICA_LABEL = "org.stagelens.replica"
NAMESPACE = "diamol"
KINDS = ("base", "golang", "maven", "openjdk", "node")
NAMES = tuple(f"{NAMESPACE}/{kind}" for kind in KINDS)

# The images that each lesson needs for its first build.
LESSON_IMAGES: dict[str, tuple[str, ...]] = {
    "01-multi-stage": ("diamol/base",),
    "02-java-image-of-the-day": ("diamol/base", "diamol/maven", "diamol/openjdk"),
    "03-node-access-log": ("diamol/base", "diamol/node"),
    "04-go-image-gallery": NAMES,
    "05-why-multi-stage": NAMES,
    "06-exercise": ("diamol/golang", "diamol/base"),
    "07-node-dependencies": ("diamol/node", "diamol/base"),
    "08-java-order": ("diamol/maven", "diamol/openjdk", "diamol/base"),
}


class ImagesError(StagelensError):
    """A base image could not be provided."""


class PullFailed(ImagesError):
    """An image could not be pulled; `unreachable` is true where the registry did not answer at all."""

    def __init__(self, name: str, why: str, *, unreachable: bool = False) -> None:
        self.unreachable = unreachable
        super().__init__(
            f"{name} could not be pulled.",
            why=why,
            remedy="set STAGELENS_REGISTRY_MIRROR to a registry you can reach, "
            "or run: stagelens images --source replica",
        )


class ReplicaFailed(ImagesError):
    """A local replica could not be made."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image on an engine.

    Attributes
    ----------
    name
        The image's name, such as `diamol/base`.
    image_id
        The image's ID; None where it is missing.
    origin
        "replica" for an image that stagelens made, "published" for any other image of that name.
    size
        The unpacked bytes; 0 where the image is missing.
    """

    name: str
    image_id: str | None
    origin: Origin
    size: int


@dataclass(frozen=True, slots=True)
class PresentImage:
    """An image in the engine's list, and the recipe that its label names (None: no replica)."""

    image: BaseImage
    recipe: str | None


def index_images(rows: Iterable[Mapping[str, Any]]) -> dict[str, PresentImage]:
    """Return the rows of the engine's image list by name; only the tag `latest` counts."""
    found: dict[str, PresentImage] = {}
    for row in rows:
        recipe = (row.get("Labels") or {}).get(REPLICA_LABEL) or None
        for tag in row.get("RepoTags") or ():
            name, _, version = str(tag).rpartition(":")
            # Podman puts the registry's name, or localhost/, before the repository's.
            short = "/".join(name.split("/")[-2:])
            if version == "latest":
                origin: Origin = "replica" if recipe else "published"
                found[short] = PresentImage(
                    BaseImage(short, str(row["Id"]), origin, int(row["Size"])), recipe
                )
    return found
