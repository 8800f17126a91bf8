"""Where strangers' submissions are graded: an engine of their own with limits, or one that somebody names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing

from docker.errors import ImageNotFound
from filelock import FileLock

from stagelens import engine as engines
from stagelens import images
from stagelens.engine import Engine
from stagelens.grade.sweep import sweep

# In place of an address: engines of the grader's own.
OWN = "own"
Say = Callable[[str], None]


def places(
    names: Iterable[str], address: str | None = None, workers: int = 1, say: Say | None = None
) -> tuple[str, ...]:
    """The address of an engine for each worker, with the base images `names` on it.

    `address` is one that all workers share, or OWN: each then gets a grading engine of its own, started if
    need be, with the images copied from the engine that everybody uses here. Without it they get such ones
    where they can be started, unless DOCKER_HOST names an engine. What killed graders left is removed.

    Raises
    ------
    EngineNotFound, EngineStartFailed: there is no engine to grade on.
    """
    tell, wanted = say or _silent, tuple(names)
    own = address == OWN or (address is None and not os.environ.get("DOCKER_HOST") and unlimited() is None)
    usual = engines.connect(None if own else address, report=tell)
    with closing(usual.api):
        images.ensure(usual, wanted, report=tell)
        if own:
            return tuple(_own(number, usual, wanted, tell) for number in range(workers))
        sweep(usual)
    return (usual.address,) * workers


def unlimited(addresses: Iterable[str] = ()) -> str | None:
    """Where builds on these engines have no limit but time: that, and what is better, in words; else None.

    Without addresses: why grading engines cannot be started here, None where they can.
    """
    given = tuple(addresses)
    reason = engines.can_start(limited=True)
    if not given:
        return reason
    if given[0] == engines.grading_engine().address:
        return None
    better = "use --engine own" if reason is None else f"keep an engine for grading alone ({reason})"
    return f"build steps have no limits of memory, processes and disk on {given[0]}: {better}"


def _own(number: int, usual: Engine, names: tuple[str, ...], say: Say) -> str:
    private = engines.start_private(say, engines.grading_engine(number))
    engine = engines.connect(private.address)
    with closing(engine.api), FileLock(private.folder / "images.lock"):
        for name in names:
            if _image_id(usual, name) != _image_id(engine, name):
                say(f"copying {name} to a grading engine")
                _copy(usual, engine, name)
        sweep(engine)
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
