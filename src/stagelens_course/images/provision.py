"""Provide base images: take those that are present, else pull them, else make replicas."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from docker.errors import APIError
from filelock import FileLock, Timeout

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.concurrency import CallbackRelay, run_cancellable
from stagelens.engine import Engine
from stagelens.errors import short_traceback_on_interrupt
from stagelens.paths import cache_dir
from stagelens_course.images import certificates, replica
from stagelens_course.images.model import (
    KINDS,
    NAMES,
    NAMESPACE,
    BaseImage,
    ImagesError,
    ImageSource,
    PresentImage,
    PullFailed,
    index_images,
)
from stagelens_course.images.registry import pull_image

_PARALLEL_BUILDS = 2
_LOCK_POLL_SECONDS = 0.2


def describe(engine: Engine, *, namespace: str = NAMESPACE) -> tuple[BaseImage, ...]:
    """Return the state of the five base images on the engine, without a change."""
    present = index_images(engine.api.images())
    return tuple(_base_image(engine, f"{namespace}/{kind}", present) for kind in KINDS)


@short_traceback_on_interrupt()
def ensure(
    engine: Engine,
    names: Iterable[str] | None = None,
    source: ImageSource = "auto",
    report: Callable[[str], None] | None = None,
    *,
    namespace: str = NAMESPACE,
    cancel: Cancel | None = None,
) -> tuple[BaseImage, ...]:
    """Provide base images on an engine, and return their state in the order of the names.

    An interrupt or a cancel leaves no temporary folder, no running program and no incomplete image. Images
    that were provided before an error stay.

    Parameters
    ----------
    engine
        The engine that needs the images.
    names
        Names such as "diamol/base"; all five by default.
    source
        "auto" takes an image that is present, else pulls it, else makes a replica; "pull" replaces replicas
        and makes none; "replica" pulls nothing. A published image that is present is never replaced; a
        replica whose recipe has changed is made again.
    report
        Called, in the calling thread, with a line that says what is being done.
    namespace
        The namespace of the images on the engine, for tests.
    cancel
        Stops the work when it is called.

    Raises
    ------
    ImagesError
        If a name is unknown.
    PullFailed
        If `source` is "pull" and an image could not be pulled.
    ReplicaFailed
        If a replica could not be made.
    BuildCancelled
        If `cancel` was called.
    """
    kinds = _kinds(names)
    extra = certificates.extra_certificates()

    def missing_kinds() -> list[str]:
        present = index_images(engine.api.images())
        rows.update({kind: _base_image(engine, f"{namespace}/{kind}", present) for kind in kinds})
        return [k for k in kinds if not _is_usable(present.get(f"{namespace}/{k}"), k, source, extra)]

    rows: dict[str, BaseImage] = {}
    stop = cancel or Cancel()

    def work(relay: CallbackRelay) -> None:
        relayed = relay.wrap(report)
        with _provision_lock(stop):
            # Another process may have made them while this one waited.
            wanted = missing_kinds()
            former = [row.image_id for row in rows.values() if row.image_id]
            try:
                if source != "replica":
                    wanted = _pull_all(engine, wanted, source, relayed, namespace, stop)
                _make_all(engine, wanted, extra, relayed, namespace, stop)
            except ImagesError:
                _raise_if_cancelled(stop)
                raise
            finally:
                _drop_untagged(engine, former)

    if missing_kinds():
        run_cancellable(work, stop)
        missing_kinds()
    return tuple(rows[kind] for kind in kinds)


@contextmanager
def _provision_lock(cancel: Cancel) -> Generator[None]:
    """Hold the lock for providing base images; waiting for another process can be cancelled."""
    lock = FileLock(cache_dir() / "images.lock")
    while True:
        _raise_if_cancelled(cancel)
        with suppress(Timeout), lock.acquire(timeout=_LOCK_POLL_SECONDS):
            yield
            return


def _raise_if_cancelled(cancel: Cancel) -> None:
    if cancel.requested:
        raise BuildCancelled("Providing the base images was cancelled.")


def _kinds(names: Iterable[str] | None) -> list[str]:
    requested = list(dict.fromkeys(NAMES if names is None else names))
    for name in requested:
        if name not in NAMES:
            raise ImagesError(
                f"{name!r} is not a base image of the course.", remedy=f"choose from: {', '.join(NAMES)}"
            )
    return [name.partition("/")[2] for name in requested]


def _base_image(engine: Engine, name: str, present: Mapping[str, PresentImage]) -> BaseImage:
    if name not in present:
        return BaseImage(name, None, "missing", 0)
    image = present[name].image
    if not engine.info.containerd_store:
        return image
    # This store lists compressed and unpacked bytes together; the history has the unpacked ones by layer.
    layers: list[dict[str, Any]] = engine.api.history(image.image_id)
    return replace(image, size=sum(int(layer["Size"]) for layer in layers))


def _is_usable(
    found: PresentImage | None, kind: str, source: ImageSource, extra: Mapping[str, bytes]
) -> bool:
    if found is None:
        return False
    if found.recipe is None:
        return True
    return source != "pull" and found.recipe == replica.recipe_digest(kind, extra)


def _pull_all(
    engine: Engine,
    kinds: list[str],
    source: ImageSource,
    report: Callable[[str], None],
    namespace: str,
    cancel: Cancel,
) -> list[str]:
    """Pull what can be pulled, and return the rest; a registry that does not answer is tried only once."""
    for position, kind in enumerate(kinds):
        report(f"pulling {NAMESPACE}/{kind}")
        try:
            pull_image(engine.api, f"{NAMESPACE}/{kind}", f"{namespace}/{kind}", report, cancel)
        except PullFailed as failure:
            _raise_if_cancelled(cancel)
            if source == "pull":
                raise
            report(f"{NAMESPACE}/{kind} cannot be pulled, making a replica instead")
            if failure.unreachable:
                return kinds[position:]
            return [kind, *_pull_all(engine, kinds[position + 1 :], source, report, namespace, cancel)]
    return []


def _make_all(
    engine: Engine,
    kinds: list[str],
    extra: Mapping[str, bytes],
    report: Callable[[str], None],
    namespace: str,
    cancel: Cancel,
) -> None:
    if "base" in kinds:
        report(f"making {namespace}/base")
        replica.make_base(engine.api, f"{namespace}/base", extra, cancel)
    built = [kind for kind in kinds if kind != "base"]
    if not built:
        return
    replica.make_debian(engine.api, report, cancel)
    # A failed build cancels the others.
    stop = Cancel()
    cancel.on_request(stop)
    with ThreadPoolExecutor(_PARALLEL_BUILDS) as pool:
        jobs = [
            pool.submit(replica.build_replica, engine.api, kind, f"{namespace}/{kind}", extra, report, stop)
            for kind in built
        ]
        done, waiting = wait(jobs, return_when=FIRST_EXCEPTION)
        try:
            for job in done:
                job.result()
        except Exception:
            for job in waiting:
                job.cancel()
            stop()
            raise


def _drop_untagged(engine: Engine, images: Iterable[str]) -> None:
    """Remove replicas that a new one replaced; those that a container uses stay."""
    for image in images:
        with suppress(APIError):
            if not engine.api.inspect_image(image)["RepoTags"]:
                engine.api.remove_image(image)
