"""Divide the bytes of stages and images into base image, dependencies, build tools and app.

The first rule that matches a file decides:

1. dependencies: files in a folder of a package manager (`node_modules`, `.m2`, `site-packages` and others).
2. build tools: caches of compilers and package managers. In a stage other than the target, also files of the
   base image or of system folders that the target's final state does not contain.
3. base: files that come from FROM.
4. app: all other files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from stagelens.snapshot import Entry, Exploration, FileTable
from stagelens.snapshot.layers import ImageLayers

Category = Literal["base", "dependencies", "tools", "app"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
_GROUPS = 24
_DEPTH = 3

_DEPENDENCIES = re.compile(
    r"(?:^|/)(?:node_modules|bower_components|site-packages|dist-packages|\.m2|\.gradle|\.ivy2|\.nuget"
    r"|go/pkg/mod|\.cargo/registry|vendor/bundle|BOOT-INF/lib|WEB-INF/lib)/"
)
_CACHES = re.compile(r"(?:^|/)(?:\.cache|\.npm|\.yarn|\.pnpm-store)/|^var/(?:cache|lib/apt/lists)/")
_SYSTEM = re.compile(r"^(?:usr|bin|sbin|lib|lib64|opt|etc|var)/")


@dataclass(frozen=True, slots=True)
class Group:
    """The bytes of one category in a folder.

    Attributes
    ----------
    category
        The category.
    folder
        The path of the folder, with at most three components; empty for all folders that are not listed.
    size
        The bytes.
    """

    category: Category
    folder: str
    size: int


@dataclass(frozen=True, slots=True)
class SizeBreakdown:
    """The bytes of a stage or an image by category and folder.

    Attributes
    ----------
    name
        The stage's label or the image's name.
    sizes
        The bytes of each category.
    groups
        The largest folders of each category.
    files
        The number of files.
    stage
        The position of the stage in the build; None for an image.
    final
        Whether this is an image or the target stage.
    """

    name: str
    sizes: dict[Category, int]
    groups: tuple[Group, ...]
    files: int
    stage: int | None = None
    final: bool = False

    @property
    def size(self) -> int:
        """The bytes of all categories."""
        return sum(self.sizes.values())


def stage_breakdowns(exploration: Exploration) -> tuple[SizeBreakdown, ...]:
    """Return the breakdown of each stage of a build, in order.

    Parameters
    ----------
    exploration
        The explored build.
    """
    target = exploration.stage()
    found: list[SizeBreakdown] = []
    # The files of the image that each stage starts from, directly or through other stages.
    bases: dict[int | None, FileTable] = {}
    for number, files in enumerate(exploration.stages):
        base = bases[files.stage.index] = bases.get(files.stage.base_stage, files.tables[0])
        rule = _rule(base, None if files is target else target.final)
        name = files.stage.label
        found.append(_breakdown(name, files.final, rule, stage=number, final=files is target))
    return tuple(found)


def image_breakdown(name: str, image: ImageLayers, base: ImageLayers | None = None) -> SizeBreakdown:
    """Return the breakdown of an image.

    Parameters
    ----------
    name
        The image's name.
    image
        The image's layers.
    base
        The layers of the base image: files in the layers that both images share have the category base.
    """
    shared = 0
    if base is not None:
        pairs = zip(image.layers, base.layers, strict=False)
        shared = next((n for n, (a, b) in enumerate(pairs) if a.diff_id != b.diff_id), len(base.layers))
    below = image.files_at(shared - 1) if shared else FileTable.from_entries(())
    whole = image.files_at(len(image.layers) - 1) if image.layers else below
    return _breakdown(name, whole, _rule(below, None), final=True)


def _rule(base: FileTable, target: FileTable | None) -> Callable[[Entry], Category]:
    def category(entry: Entry) -> Category:
        if _DEPENDENCIES.search(entry.path):
            return "dependencies"
        from_base = base.get(entry.path) == entry
        if _CACHES.search(entry.path) and not from_base:
            return "tools"
        if target is not None and (from_base or _SYSTEM.match(entry.path)):
            return "base" if target.get(entry.path) == entry else "tools"
        return "base" if from_base else "app"

    return category


def _breakdown(
    name: str,
    table: FileTable,
    rule: Callable[[Entry], Category],
    stage: int | None = None,
    final: bool = False,
) -> SizeBreakdown:
    sizes: dict[Category, int] = dict.fromkeys(CATEGORIES, 0)
    folders: Counter[tuple[Category, str]] = Counter()
    files = 0
    for entry in table:
        if entry.kind != "file":
            files += entry.kind != "dir"
            continue
        files += 1
        category = rule(entry)
        sizes[category] += entry.size
        folders[category, "/".join(entry.path.split("/")[:_DEPTH])] += entry.size
    return SizeBreakdown(name, sizes, _groups(sizes, folders), files, stage, final)


def _groups(sizes: dict[Category, int], folders: Counter[tuple[Category, str]]) -> tuple[Group, ...]:
    found = [Group(c, folder, size) for (c, folder), size in folders.most_common(_GROUPS) if size]
    for category, whole in sizes.items():
        rest = whole - sum(group.size for group in found if group.category == category)
        if rest:
            found.append(Group(category, "", rest))
    return tuple(found)
