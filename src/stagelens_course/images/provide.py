"""Providing base images: present, else pulled, else made here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

from docker.errors import APIError
from filelock import FileLock, Timeout

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.concurrency import CallbackRelay, run_cancellable
from stagelens.engine import Engine
from stagelens.errors import short_traceback_on_interrupt
from stagelens.paths import cache_dir
from stagelens_course.images import certificates, replica
from stagelens_course.images.errors import ImagesError, PullFailed
from stagelens_course.images.model import KINDS, NAMES, NAMESPACE, BaseImage, ImageSource, Present, index
from stagelens_course.images.pull import pull

_AT_ONCE = 2
_LOOK_SECONDS = 0.2


def describe(engine: Engine, *, namespace: str = NAMESPACE) -> tuple[BaseImage, ...]:
    """The five base images as they are on the engine; one call, and nothing is changed."""
    present = index(engine.api.images())
    return tuple(_row(f"{namespace}/{kind}", present) for kind in KINDS)


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
    """Provide base images and describe them, in the order asked for.

    An interrupt or `cancel` leaves no temporary folder, no program at work and no half of an image.

    Parameters
    ----------
    names: such as "diamol/base"; None for all five.
    source: "auto" takes what is present, else pulls, else makes a replica; "pull" replaces replicas and
        makes none; "replica" pulls nothing. A published image that is present is never replaced; a
        replica whose recipe has changed is made again.
    report: called, in the calling thread, with a line that says what is being done.
    namespace: what the images are called by on the engine instead of diamol; for tests.

    Raises
    ------
    ImagesError: an unknown name; PullFailed; ReplicaFailed. What was provided before it stays.
    BuildCancelled: `cancel` was called.
    """
    kinds = _kinds(names)
    extra = certificates.extra()

    def lacking() -> list[str]:
        present = index(engine.api.images())
        rows.update({kind: _row(f"{namespace}/{kind}", present) for kind in kinds})
        return [k for k in kinds if not _serves(present.get(f"{namespace}/{k}"), k, source, extra)]

    rows: dict[str, BaseImage] = {}
    stop = cancel or Cancel()

    def work(relay: CallbackRelay) -> None:
        tell = relay.wrap(report)
        with _alone(stop):
            # Another process may have made them while this one waited.
            wanted = lacking()
            former = [row.image_id for row in rows.values() if row.image_id]
            try:
                if source != "replica":
                    wanted = _pull_all(engine, wanted, source, tell, namespace, stop)
                _make_all(engine, wanted, extra, tell, namespace, stop)
            except ImagesError:
                _go_on(stop)
                raise
            finally:
                _drop_untagged(engine, former)

    if lacking():
        run_cancellable(work, stop)
        lacking()
    return tuple(rows[kind] for kind in kinds)


@contextmanager
def _alone(cancel: Cancel) -> Generator[None]:
    """Be the one process that provides base images; to wait for another can be cancelled, too."""
    lock = FileLock(cache_dir() / "images.lock")
    while True:
        _go_on(cancel)
        with suppress(Timeout), lock.acquire(timeout=_LOOK_SECONDS):
            yield
            return


def _go_on(cancel: Cancel) -> None:
    if cancel.requested:
        raise BuildCancelled("Providing the base images was cancelled.")


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
    engine: Engine,
    kinds: list[str],
    source: ImageSource,
    report: Callable[[str], None],
    namespace: str,
    cancel: Cancel,
) -> list[str]:
    """Pull what can be pulled and return the rest; a registry that does not answer is asked once."""
    for position, kind in enumerate(kinds):
        report(f"pulling {NAMESPACE}/{kind}")
        try:
            pull(engine.api, f"{NAMESPACE}/{kind}", f"{namespace}/{kind}", report, cancel)
        except PullFailed as failure:
            _go_on(cancel)
            if source == "pull":
                raise
            report(f"{NAMESPACE}/{kind} cannot be pulled: a replica is made instead")
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
    # Where one fails the others end as well.
    own = Cancel()
    cancel.on_request(own)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [
            pool.submit(replica.build, engine.api, kind, f"{namespace}/{kind}", extra, report, own)
            for kind in built
        ]
        done, waiting = wait(jobs, return_when=FIRST_EXCEPTION)
        try:
            for job in done:
                job.result()
        except Exception:
            for job in waiting:
                job.cancel()
            own()
            raise


def _drop_untagged(engine: Engine, images: Iterable[str]) -> None:
    """Remove former replicas whose last name went to a new one; those in use by a container stay."""
    for image in images:
        with suppress(APIError):
            if not engine.api.inspect_image(image)["RepoTags"]:
                engine.api.remove_image(image)
