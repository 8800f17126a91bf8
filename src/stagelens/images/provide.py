"""Providing base images: present, else pulled, else made here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress

from docker.errors import APIError
from filelock import FileLock

from stagelens.buildkit import Cancel
from stagelens.engine import Engine
from stagelens.images import certificates, replica
from stagelens.images.errors import ImagesError, PullFailed
from stagelens.images.model import KINDS, NAMES, NAMESPACE, BaseImage, ImageSource, Present, index
from stagelens.images.pull import pull
from stagelens.paths import cache_dir

_AT_ONCE = 2


def describe(engine: Engine, *, namespace: str = NAMESPACE) -> tuple[BaseImage, ...]:
    """The five base images as they are on the engine; one call, and nothing is changed."""
    present = index(engine.api.images())
    return tuple(_row(f"{namespace}/{kind}", present) for kind in KINDS)


def ensure(
    engine: Engine,
    names: Iterable[str] | None = None,
    source: ImageSource = "auto",
    report: Callable[[str], None] | None = None,
    *,
    namespace: str = NAMESPACE,
) -> tuple[BaseImage, ...]:
    """Provide base images and describe them, in the order asked for.

    Parameters
    ----------
    names: such as "diamol/base"; None for all five.
    source: "auto" takes what is present, else pulls, else makes a replica; "pull" replaces replicas and
        makes none; "replica" pulls nothing. A published image that is present is never replaced; a
        replica whose recipe has changed is made again.
    report: called from any thread with a line that says what is being done.
    namespace: what the images are called by on the engine instead of diamol; for tests.

    Raises
    ------
    ImagesError: an unknown name; PullFailed; ReplicaFailed. What was provided before it stays.
    """
    kinds = _kinds(names)
    extra = certificates.extra()

    def lacking() -> list[str]:
        present = index(engine.api.images())
        rows.update({kind: _row(f"{namespace}/{kind}", present) for kind in kinds})
        return [k for k in kinds if not _serves(present.get(f"{namespace}/{k}"), k, source, extra)]

    rows: dict[str, BaseImage] = {}
    if lacking():
        tell = _serial(report)
        with FileLock(cache_dir() / "images.lock"):
            # Another process may have made them while this one waited.
            wanted = lacking()
            former = [row.image_id for row in rows.values() if row.image_id]
            try:
                if source != "replica":
                    wanted = _pull_all(engine, wanted, source, tell, namespace)
                _make_all(engine, wanted, extra, tell, namespace)
            finally:
                _drop_untagged(engine, former)
        lacking()
    return tuple(rows[kind] for kind in kinds)


def _kinds(names: Iterable[str] | None) -> list[str]:
    asked = list(dict.fromkeys(NAMES if names is None else names))
    for name in asked:
        if name not in NAMES:
            raise ImagesError(
                f"{name!r} is not a base image of the course.", remedy=f"choose from: {', '.join(NAMES)}"
            )
    return [name.partition("/")[2] for name in asked]


def _row(name: str, present: Mapping[str, Present]) -> BaseImage:
    return present[name].image if name in present else BaseImage(name, None, "missing", 0)


def _serves(found: Present | None, kind: str, source: ImageSource, extra: Mapping[str, bytes]) -> bool:
    if found is None:
        return False
    if found.recipe is None:
        return True
    return source != "pull" and found.recipe == replica.recipe(kind, extra)


def _pull_all(
    engine: Engine, kinds: list[str], source: ImageSource, report: Callable[[str], None], namespace: str
) -> list[str]:
    """Pull what can be pulled and return the rest; a registry that does not answer is asked once."""
    for position, kind in enumerate(kinds):
        report(f"pulling {NAMESPACE}/{kind}")
        try:
            pull(engine.api, f"{NAMESPACE}/{kind}", f"{namespace}/{kind}", report)
        except PullFailed as failure:
            if source == "pull":
                raise
            report(f"{NAMESPACE}/{kind} cannot be pulled: a replica is made instead")
            if failure.unreachable:
                return kinds[position:]
            return [kind, *_pull_all(engine, kinds[position + 1 :], source, report, namespace)]
    return []


def _make_all(
    engine: Engine,
    kinds: list[str],
    extra: Mapping[str, bytes],
    report: Callable[[str], None],
    namespace: str,
) -> None:
    if "base" in kinds:
        report(f"making {namespace}/base")
        replica.make_base(engine.api, f"{namespace}/base", extra)
    built = [kind for kind in kinds if kind != "base"]
    if not built:
        return
    replica.make_debian(engine.api, report)
    cancel = Cancel()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs: list[Future[None]] = []
        try:
            # An interrupt may come when the first of them runs already.
            for kind in built:
                given = (engine.api, kind, f"{namespace}/{kind}", extra, report, cancel)
                jobs.append(pool.submit(replica.build, *given))
            wait(jobs, return_when=FIRST_EXCEPTION)
            for job in jobs:
                if job.done():
                    job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            cancel()
            raise


def _drop_untagged(engine: Engine, images: Iterable[str]) -> None:
    """Remove former replicas whose last name went to a new one; those in use by a container stay."""
    for image in images:
        with suppress(APIError):
            if not engine.api.inspect_image(image)["RepoTags"]:
                engine.api.remove_image(image)


def _serial(report: Callable[[str], None] | None) -> Callable[[str], None]:
    lock = threading.Lock()

    def tell(text: str) -> None:
        if report is not None:
            with lock:
                report(text)

    return tell
