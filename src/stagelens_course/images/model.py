"""The base images of the chapter: their names, and what is known of each on an engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Origin = Literal["published", "replica", "missing"]
ImageSource = Literal["auto", "pull", "replica"]

LABEL = "org.stagelens.replica"
NAMESPACE = "diamol"
KINDS = ("base", "golang", "maven", "openjdk", "node")
NAMES = tuple(f"{NAMESPACE}/{kind}" for kind in KINDS)

# What each lesson's first build needs.
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


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image on an engine; `size` is in bytes, 0 where the image is missing.

    `origin` is "replica" for an image that stagelens made here, "published" for any other of that name.
    """

    name: str
    image_id: str | None
    origin: Origin
    size: int


@dataclass(frozen=True, slots=True)
class Present:
    """An image in the engine's list, and the recipe that its label names."""

    image: BaseImage
    recipe: str | None


def index(rows: Iterable[Mapping[str, Any]]) -> dict[str, Present]:
    """The rows of the engine's image list by name, for tags `latest` only."""
    found: dict[str, Present] = {}
    for row in rows:
        recipe = (row.get("Labels") or {}).get(LABEL) or None
        for tag in row.get("RepoTags") or ():
            name, _, version = str(tag).rpartition(":")
            # Podman shows the registry's name, or localhost/, before the repository's.
            short = "/".join(name.split("/")[-2:])
            if version == "latest":
                origin: Origin = "replica" if recipe else "published"
                found[short] = Present(BaseImage(short, str(row["Id"]), origin, int(row["Size"])), recipe)
    return found
