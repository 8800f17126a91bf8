"""Where strangers' submissions are graded: an engine of their own with limits, or one that somebody names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

from docker.errors import ImageNotFound
from filelock import FileLock

from stagelens import engine as engines
from stagelens import images
from stagelens.engine import Engine
from stagelens.grade.sweep import sweep
from stagelens.paths import state_dir

Say = Callable[[str], None]


def connect(
    names: Iterable[str], address: str | None = None, say: Say | None = None, *, worker: int = 0
) -> Engine:
    """An engine to grade on that has the base images `names`; with an address, the engine there.

    Without one it is a grading engine (one for each `worker`), started if need be, with the images copied
    from the engine that everybody uses here. Where none can be started (`unlimited` says why) it is that one.

    Raises
    ------
    EngineNotFound, EngineStartFailed: there is no engine to grade on.
    """
    tell = say or _silent
    if address is not None or unlimited() is not None:
        return _provided(engines.connect(address, report=tell), names, tell)
    private = engines.start_private(tell, engines.grading_engine(worker))
    engine = engines.connect(private.address)
    with FileLock(state_dir() / "grading.lock"):
        _copy_images(engine, names, tell)
    return _provided(engine, names, tell)


def unlimited() -> str | None:
    """None where the grading engine can be started here, else why what is graded here has no such limits."""
    return engines.can_start(limited=True)


def _provided(engine: Engine, names: Iterable[str], say: Say) -> Engine:
    images.ensure(engine, names, report=say)
    sweep(engine)
    return engine


def _copy_images(engine: Engine, names: Iterable[str], say: Say) -> None:
    """Copy what the usual engine has and this one lacks, or has in another version."""
    try:
        usual = engines.connect(start=False)
    except engines.EngineNotFound:
        return
    with closing(usual.api):
        for name in names:
            theirs = _image_id(usual, name)
            if theirs is not None and theirs != _image_id(engine, name):
                say(f"copying {name} to the grading engine")
                for event in engine.api.load_image(usual.api.get_image(f"{name}:latest")):
                    if "error" in event:
                        raise images.ImagesError(f"{name} cannot be copied.", why=str(event["error"]))


def _image_id(engine: Engine, name: str) -> str | None:
    try:
        return str(engine.api.inspect_image(name)["Id"])
    except ImageNotFound:
        return None


def _silent(text: str) -> None:
    """Nobody wants to know."""
