"""Where strangers' submissions are graded: an engine of their own with limits, or one that somebody names."""

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

# In place of an address: engines of the grader's own.
DEDICATED = "dedicated"
Say = Callable[[str], None]


@contextmanager
def lease_engines(
    names: Iterable[str],
    address: str | None = None,
    workers: int = 1,
    cpus: float = 1.0,
    say: Say | None = None,
) -> Generator[tuple[str, ...]]:
    """Return the address of an engine for each worker, with the base images `names` on it.

    `address` is one that all workers share, or DEDICATED: each then gets a grading engine of its own, with
    `cpus` cores, started if need be, with the images copied from the engine that everybody uses here. No
    other grader gets it until this is left. Without `address` they get such ones where they can be started,
    unless DOCKER_HOST names an engine. What killed graders left is removed.

    Raises
    ------
    EngineNotFound, EngineStartFailed: there is no engine to grade on.
    """
    tell, wanted = say or _silent, tuple(names)
    own = address == DEDICATED or (
        address is None and not os.environ.get("DOCKER_HOST") and isolation_warning() is None
    )
    usual = engines.connect(None if own else address, report=tell)
    with ExitStack() as held:
        with closing(usual.api):
            images.ensure(usual, wanted, report=tell)
            remove_leftovers(usual)
            if own:
                free = [held.enter_context(_free(cpus, cores)) for cores in partition_cores(workers, cpus)]
                found = tuple(_own(private, usual, wanted, tell) for private in free)
            else:
                found = (usual.address,) * workers
        yield found


def isolation_warning(addresses: Iterable[str] = ()) -> str | None:
    """Where builds on these engines have no limit but time: that, and what is better, in words; else None.

    Without addresses: why grading engines cannot be started here, None where they can.
    """
    given = tuple(addresses)
    reason = engines.start_blocker(limited=True)
    if not given:
        return reason
    if engines.is_grading_engine(given[0]):
        return None
    better = "use --engine dedicated" if reason is None else f"keep an engine for grading alone ({reason})"
    return f"build steps have no limits of memory, processes, disk and cores on {given[0]}: {better}"


def oversubscription_warning(workers: int, cpus: float, cores: int) -> str | None:
    """Where so many workers have no cores of their own: that, in words; else None."""
    if workers * cpus <= cores:
        return None
    return (
        f"{workers} workers with {cpus:g} cores each take time from each other on {cores} cores: "
        f"their time limits mean the same with --workers {max(1, int(cores / cpus))}"
    )


def partition_cores(workers: int, cpus: float) -> list[tuple[int, ...]]:
    """For each worker the machine's cores, by number, that its engine keeps to: all of them are dealt out.

    None to a worker that is alone, nor where some would get fewer than `cpus`.
    """
    cores = sorted(os.sched_getaffinity(0))
    ends = [len(cores) * number // workers for number in range(workers + 1)]
    hands = [tuple(cores[begin:end]) for begin, end in itertools.pairwise(ends)]
    enough = workers > 1 and all(len(hand) >= cpus for hand in hands)
    return hands if enough else [()] * workers


@contextmanager
def _free(cpus: float, cores: tuple[int, ...]) -> Generator[PrivateEngine]:
    """Yield the first grading engine that no grader uses; the caller has it to itself."""
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


def _own(private: PrivateEngine, usual: Engine, names: tuple[str, ...], say: Say) -> str:
    engines.start_private(say, private)
    engine = engines.connect(private.address)
    with closing(engine.api):
        remove_all(engine)
        for name in names:
            if _image_id(usual, name) != _image_id(engine, name):
                say(f"copying {name} to a grading engine")
                _copy(usual, engine, name)
    return engine.address


def _copy(usual: Engine, engine: Engine, name: str) -> None:
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


def _silent(text: str) -> None:
    """Nobody wants to know."""
