"""A probe that cannot do its work says why, and leaves nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from stagelens_testing.cutting_proxy import CuttingProxy

import stagelens
from stagelens.buildkit import BuildError, ConnectionLost, EngineFault, Gateway
from stagelens.buildkit.gateway import GatewayContainer
from stagelens.engine import Engine, connect
from stagelens.errors import StagelensError
from stagelens.snapshot import ExplorationFailed, explore, inspection
from stagelens.snapshot.snapshot_walk import SnapshotListing
from stagelens.snapshot.snapshot_walk import walk_snapshots as real_walk


@pytest.mark.engine
def test_a_probe_that_fails_says_so_and_not_that_the_dockerfile_is_wrong(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY x /x\n")
    (tmp_path / "x").write_text(unique)
    trace = stagelens.build(tmp_path, engine=engine)
    (tmp_path / "x").unlink()
    with pytest.raises(ExplorationFailed, match="build the project again"):
        explore(engine, tmp_path, trace)


@pytest.mark.engine
def test_a_look_that_the_engine_gave_up_is_taken_again_and_only_so_often(
    engine: Engine,
    tmp_path: Path,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
    set_timeouts: Callable[..., None],
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM diamol/base AS a\nRUN echo {unique} > /f\n")
    trace = stagelens.build(tmp_path, engine=engine)
    container, asked, tries = Gateway.new_container, list[int](), 3

    def give_up(*given: object) -> GatewayContainer:
        asked.append(len(asked))
        if len(asked) <= tries:
            raise BuildError("mount: flightcontrol: exceeded retry timeout")
        return container(*given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Gateway, "new_container", give_up)
    set_timeouts(build_retry_pauses=(0.0,) * 3)
    assert explore(engine, tmp_path, trace, cache_folder=tmp_path / "keep").stages[0].final.get("f")
    assert len(asked) == 4
    tries = 99
    with pytest.raises(EngineFault, match="too busy"):
        explore(engine, tmp_path, trace, cache_folder=tmp_path / "other")
    assert len(asked) == 8


@pytest.mark.engine
def test_an_engine_that_is_gone_in_the_midst_of_a_probe_is_told_and_nothing_kept(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, keep = tmp_path / "context", tmp_path / "keep"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique} > /f\n")
    cutter = CuttingProxy(tmp_path / "s", engine.address.removeprefix("unix://"))
    cut = connect(f"unix://{tmp_path}/s", start=False)

    def stop(*given: object) -> dict[int, SnapshotListing]:
        cutter.cut()
        return real_walk(*given)  # pyright: ignore[reportArgumentType]

    try:
        trace = stagelens.build(context, engine=cut)
        with monkeypatch.context() as patched:
            patched.setattr(inspection, "walk_snapshots", stop)
            with pytest.raises(ConnectionLost, match=r"engine (broke|closed the connection)"):
                explore(cut, context, trace, cache_folder=keep)
        assert not keep.exists()
        with pytest.raises(StagelensError):
            explore(cut, context, trace, cache_folder=keep)  # nor does the engine come back
    finally:
        cut.api.close()
        cutter.close()
    assert explore(engine, context, trace, cache_folder=keep).stages[-1].final.get("f")


def told_as_nobody(work: Callable[[], object]) -> str:
    """What a user without rights is told who does this: a StagelensError's words, or "fine"."""
    near, far = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.environ["HOME"] = "/nonexistent"  # as /etc/passwd has it
            work()
            told = "fine"
        except StagelensError as error:
            told = error.render()
        except BaseException as error:
            told = repr(error)
        os.write(far, told.encode())
        os._exit(0)
    os.close(far)
    with open(near, "rb") as answer:  # noqa: PTH123
        told = answer.read().decode()
    os.waitpid(child, 0)
    return told


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become somebody else")
def test_a_context_that_the_user_may_not_read_is_told_with_its_path(engine: Engine, unique: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        context = root / "context"
        (context / "hidden").mkdir(parents=True)
        (context / "hidden/a").write_text(unique)
        (context / "Dockerfile").write_text("FROM diamol/base\nCOPY . /in\n")
        for place in (root, *list(root.parents)[:-1]):
            place.chmod(place.stat().st_mode | 0o055)
        cutter = CuttingProxy(root / "s", engine.address.removeprefix("unix://"))
        (root / "s").chmod(0o666)
        user = connect(f"unix://{root}/s", start=False)
        try:
            trace = stagelens.build(context, engine=user)
            user.api.close()

            def work() -> object:
                return explore(user, context, trace, cache_folder=root / "keep")

            assert told_as_nobody(work) == "fine", "no right but to read is needed"
            (context / "hidden").chmod(0o700)
            told = told_as_nobody(work)
        finally:
            user.api.close()
            cutter.close()
    assert "cannot be read" in told
    assert "hidden" in told
    assert ".dockerignore" in told
