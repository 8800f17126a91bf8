"""Removal of what killed graders left behind: containers, images and temporary folders."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from docker.errors import APIError

from stagelens.engine import Engine, remove_container
from stagelens_course.grading.submission_probe import EXPIRY_LABEL, FOLDER_PREFIX, LABEL


def remove_leftovers(engine: Engine, everything: bool = False) -> tuple[str, ...]:
    """Remove leftovers of graders from an engine and from the folder for temporary files.

    Parameters
    ----------
    engine
        The engine.
    everything
        Whether to remove what has not expired, too; another grader may be using it.

    Returns
    -------
    tuple[str, ...]
        The kind and name of each thing that was removed.
    """
    now = None if everything else time.time()
    return (*_remove_containers(engine, now), *_remove_images(engine, now), *_remove_folders(now))


def remove_all(engine: Engine) -> None:
    """Remove everything that graders made on an engine which only the caller uses."""
    for _ in (*_remove_containers(engine, None), *_remove_images(engine, None)):
        pass


def _remove_containers(engine: Engine, now: float | None) -> Iterator[str]:
    for row in engine.api.containers(all=True, filters={"label": LABEL}):
        if _has_expired(row["Labels"], now):
            with suppress(APIError):
                remove_container(engine.api, row["Id"])
                yield f"container {row['Id'][:12]}"


def _remove_images(engine: Engine, now: float | None) -> Iterator[str]:
    for row in engine.api.images(filters={"label": LABEL}):
        if _has_expired(row["Labels"], now):
            # By each name: two equal submissions share an image, which goes with its last name.
            for name in row["RepoTags"] or [row["Id"]]:
                with suppress(APIError):
                    engine.api.remove_image(row["Id"] if name == "<none>:<none>" else name, force=True)
                    yield f"image {name}"


def _remove_folders(now: float | None) -> Iterator[str]:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        expiry = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if _has_expired({EXPIRY_LABEL: expiry}, now):
            shutil.rmtree(folder, ignore_errors=True)
            yield f"folder {folder.name}"


def _has_expired(labels: Mapping[str, str], now: float | None) -> bool:
    expiry = labels.get(EXPIRY_LABEL, "")
    return now is None or (expiry.isdigit() and int(expiry) < now)
