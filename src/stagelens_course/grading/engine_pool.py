"""Engines for grading untrusted submissions: dedicated ones with resource limits, or a given one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing, contextmanager

from docker.errors import ImageNotFound
from filelock import FileLock, Timeout

from stagelens import engine as engines
from stagelens.engine import Engine, PrivateEngine
from stagelens_course import images
from stagelens_course.grading.leftovers import remove_all, remove_leftovers

# Stands for dedicated grading engines instead of an address.
DEDICATED = "dedicated"


@contextmanager
def lease_engines(
    names: Iterable[str],
    address: str | None = None,
    workers: int = 1,
    cpus: float = 1.0,
    report: Callable[[str], None] | None = None,
) -> Generator[tuple[str, ...]]:
    """Provide an engine with base images for each worker, and remove what killed graders left there.

    Dedicated engines are started if necessary, and get the images from the engine that other commands use. No
    other grader uses a dedicated engine until the block ends.

    Parameters
    ----------
    names
        The base images.
    address
        An engine that all workers share, or DEDICATED. By default dedicated engines, if they can start here
        and DOCKER_HOST is not set.
    workers
        The number of workers.
    cpus
        The cores of each dedicated engine.
    report
        Called with a line that says what is being done.

    Yields
    ------
    tuple[str, ...]
        The address of each worker's engine.

    Raises
    ------
    EngineNotFound
        If no engine answers.
    EngineStartFailed
        If a dedicated engine cannot start.
    """
    report, wanted = report or _discard, tuple(names)
    dedicated = address == DEDICATED or (
        address is None and not os.environ.get("DOCKER_HOST") and isolation_warning() is None
    )
    usual = engines.connect(None if dedicated else address, report=report)
    with ExitStack() as stack:
        with closing(usual.api):
            images.ensure(usual, wanted, report=report)
            remove_leftovers(usual)
            if dedicated:
                leases = [_lease_unused(cpus, cores) for cores in partition_cores(workers, cpus)]
                leased = [stack.enter_context(lease) for lease in leases]
                addresses = tuple(_prepare(private, usual, wanted, report) for private in leased)
            else:
                addresses = (usual.address,) * workers
        yield addresses


def isolation_warning(addresses: Iterable[str] = ()) -> str | None:
    """Return a warning if build steps have no resource limits on these engines, else None.

    Parameters
    ----------
    addresses
        The addresses of the engines. Without any: why no grading engine can start here, or None.
    """
    given = tuple(addresses)
    reason = engines.start_blocker(limited=True)
    if not given:
        return reason
    if engines.is_grading_engine(given[0]):
        return None
    better = "use --engine dedicated" if reason is None else f"use an engine only for grading ({reason})"
    return f"build steps have no limits of memory, processes, disk and cores on {given[0]}: {better}"


def oversubscription_warning(workers: int, cpus: float, cores: int) -> str | None:
    """Return a warning if the workers need more cores than the machine has, else None.

    Parameters
    ----------
    workers
        The number of workers.
    cpus
        The cores that each worker needs.
    cores
        The cores of the machine.
    """
    if workers * cpus <= cores:
        return None
    return (
        f"{workers} workers with {cpus:g} cores each share {cores} cores, so time limits are stricter: "
        f"use at most --workers {max(1, int(cores / cpus))}"
    )


def partition_cores(workers: int, cpus: float) -> list[tuple[int, ...]]:
    """Divide all cores of this machine among workers.

    Parameters
    ----------
    workers
        The number of workers.
    cpus
        The cores that each worker needs at least.

    Returns
    -------
    list[tuple[int, ...]]
        The numbers of the cores of each worker; empty for a single worker, and if there are too few cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    ends = [len(cores) * number // workers for number in range(workers + 1)]
    shares = [tuple(cores[begin:end]) for begin, end in itertools.pairwise(ends)]
    enough = workers > 1 and all(len(share) >= cpus for share in shares)
    return shares if enough else [()] * workers


@contextmanager
def _lease_unused(cpus: float, cores: tuple[int, ...]) -> Generator[PrivateEngine]:
    """Yield the first grading engine that no other grader uses."""
    for number in itertools.count():
        private = engines.grading_engine(number, cpus, cores)
        lock = FileLock(private.folder / "use.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield private
        finally:
            lock.release()
        return


def _prepare(
    private: PrivateEngine, usual: Engine, names: tuple[str, ...], report: Callable[[str], None]
) -> str:
    """Start a grading engine, copy the images to it, and return its address."""
    engines.start_private(report, private)
    engine = engines.connect(private.address)
    with closing(engine.api):
        remove_all(engine)
        for name in names:
            if _image_id(usual, name) != _image_id(engine, name):
                report(f"copying {name} to a grading engine")
                _copy_image(usual, engine, name)
    return engine.address


def _copy_image(usual: Engine, engine: Engine, name: str) -> None:
    for event in engine.api.load_image(usual.api.get_image(f"{name}:latest")):
        if "error" in event:
            raise images.ImagesError(
                f"{name} cannot be copied.", where=engine.address, why=str(event["error"])
            )


def _image_id(engine: Engine, name: str) -> str | None:
    try:
        return str(engine.api.inspect_image(name)["Id"])
    except ImageNotFound:
        return None


def _discard(text: str) -> None:
    pass
