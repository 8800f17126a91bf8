"""Removing what graders that were killed left behind: containers, images and temporary folders."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from docker.errors import APIError

from stagelens.engine import Engine, remove_container
from stagelens_course.grading.submission_probe import FOLDER, LABEL, UNTIL


def remove_leftovers(engine: Engine, everything: bool = False) -> tuple[str, ...]:
    """Remove leftovers and name them.

    What another grader may still be working with is left alone, unless `everything` with the grader's label
    is to go: each thing says by when it is over.
    """
    now = None if everything else time.time()
    return (*_containers(engine, now), *_images(engine, now), *_folders(now))


def remove_all(engine: Engine) -> None:
    """Remove all that graders made on an engine that none but the caller uses now."""
    for _ in (*_containers(engine, None), *_images(engine, None)):
        """Nobody asks what it was."""


def _containers(engine: Engine, now: float | None) -> Iterator[str]:
    for row in engine.api.containers(all=True, filters={"label": LABEL}):
        if _is_over(row["Labels"], now):
            with suppress(APIError):
                remove_container(engine.api, row["Id"])
                yield f"container {row['Id'][:12]}"


def _images(engine: Engine, now: float | None) -> Iterator[str]:
    for row in engine.api.images(filters={"label": LABEL}):
        if _is_over(row["Labels"], now):
            # By each name: an image of two equal submissions has two, and goes with the last.
            for name in row["RepoTags"] or [row["Id"]]:
                with suppress(APIError):
                    engine.api.remove_image(row["Id"] if name == "<none>:<none>" else name, force=True)
                    yield f"image {name}"


def _folders(now: float | None) -> Iterator[str]:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        until = folder.name.removeprefix(FOLDER).partition("-")[0]
        if _is_over({UNTIL: until}, now):
            shutil.rmtree(folder, ignore_errors=True)
            yield f"folder {folder.name}"


def _is_over(labels: Mapping[str, str], now: float | None) -> bool:
    until = labels.get(UNTIL, "")
    return now is None or (until.isdigit() and int(until) < now)
