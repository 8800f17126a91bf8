"""A build that the engine gives up through no fault of the Dockerfile is asked for again."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stagelens
from stagelens.buildkit import (
    BuildCancelled,
    BuildError,
    Cancel,
    EngineFault,
    FileSend,
    LocalFolder,
    TarFile,
    retry_transient,
    solve,
)
from stagelens.builds import Backend, BuildTrace, LogLine, Vertex, builder
from stagelens.engine import Engine
from stagelens.views import BuildView

BUSY = "executor failed running [/bin/sh -c make]: flightcontrol: exceeded retry timeout"
FAULTS = (
    BUSY,
    "duplicate output 0",
    "no such job 2f8e1c",
    "failed to compute cache key: no active session for ddcc: context deadline exceeded",
    'image "docker.io/library/x:y": already exists',
    'failed to prepare extraction snapshot "extract-1": parent snapshot sha256:e6 does not exist: not found',
)
MADE, LATE = (0, 2), (0, 3)


@pytest.fixture(autouse=True)
def at_once(set_timeouts: Callable[..., None]) -> None:
    set_timeouts(build_retry_pauses=(0.0,) * 3)


def failing(times: int, message: str) -> tuple[Callable[[], str], list[int]]:
    """An attempt that fails so often, and a list that gets longer with each."""
    made: list[int] = []

    def attempt() -> str:
        made.append(len(made))
        if len(made) <= times:
            raise BuildError(message)
        return "built"

    return attempt, made


@pytest.mark.parametrize("message", FAULTS)
def test_engine_fault_is_retried_and_finally_reported(message: str) -> None:
    attempt, made = failing(3, message)
    assert (retry_transient(attempt), len(made)) == ("built", 4)
    attempt, made = failing(9, message)
    with pytest.raises(EngineFault, match=r"(?s)nothing is wrong with the Dockerfile.*next: .* again"):
        retry_transient(attempt)
    assert len(made) == 4


@pytest.mark.parametrize(
    "message",
    [
        "executor failed running [/bin/sh -c echo flightcontrol: exceeded retry timeout]: exit code: 1",
        'process "/bin/sh -c : duplicate output 0" did not complete successfully: exit code: 2',
        "context canceled",
    ],
)
def test_words_of_a_fault_in_a_dockerfile_are_no_fault(message: str) -> None:
    attempt, made = failing(1, message)
    with pytest.raises(BuildError, match="^" + message[:9]):
        retry_transient(attempt)
    assert len(made) == 1


def test_cancel_between_two_attempts_is_immediate(set_timeouts: Callable[..., None]) -> None:
    set_timeouts(build_retry_pauses=(3600.0,))
    cancel = Cancel()

    def attempt() -> None:
        cancel()
        raise BuildError(BUSY)

    with pytest.raises(BuildCancelled):
        retry_transient(attempt, cancel)


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    """A secret: what stands in it fails the project's late step, and is no part of the step."""
    (tmp_path / "switch").touch()
    return tmp_path / "switch"


@pytest.fixture
def gives_up(monkeypatch: pytest.MonkeyPatch, switch: Path) -> Callable[[int], None]:
    """Have the engine give up the next builds, so many.

    They are real and fail at the late step; only the words are ours, since nobody has them at will.
    """

    def arrange(times: int) -> None:
        left = iter(range(times))

        def giving_up(*given: Any, **options: Any) -> str | None:
            if next(left, None) is None:
                switch.write_text("")
                return solve(*given, **options)
            switch.write_text("fail")
            with pytest.raises(BuildError):
                solve(*given, **options)
            raise BuildError(BUSY)

        monkeypatch.setattr(builder, "solve", giving_up)

    return arrange


@pytest.fixture
def project(tmp_path: Path, unique: str) -> Path:
    context = tmp_path / "context"
    context.mkdir()
    (context / "here").write_text(unique)
    (context / "Dockerfile").write_text(
        "FROM diamol/base AS work\nCOPY here /here\n"
        f"RUN echo made {unique}; sleep 0.2; cat /here > /made\n"
        "RUN --mount=type=secret,id=switch cp /made /late; echo late; test ! -s /run/secrets/switch\n"
        "FROM scratch\nCOPY --from=work /late /late\n"
    )
    return context


def logged(trace: BuildTrace, place: tuple[int, int]) -> list[str]:
    vertex = trace.vertex(*place)
    assert vertex is not None
    return [line.text.strip() for line in vertex.logs]


@pytest.mark.engine
def test_trace_shows_two_attempts_as_one_build(
    engine: Engine, project: Path, switch: Path, unique: str, clean: object, gives_up: Callable[[int], None]
) -> None:
    gives_up(1)
    told: dict[str, Vertex] = {}

    def take(vertex: Vertex, _: tuple[LogLine, ...]) -> None:
        told[vertex.digest] = vertex

    trace = stagelens.build(
        project, engine=engine, tags=[f"{unique}:x"], secrets={"switch": switch}, on_vertex=take
    )
    made, late = trace.vertex(*MADE), trace.vertex(*LATE)
    assert made is not None
    assert late is not None
    assert (made.cached, late.cached, made.error, late.error) == (False, False, "", "")
    assert (made.seconds or 0) >= 0.2, "the time of the attempt that it ran in"
    assert (late.started or 0) > (made.completed or 0)
    assert logged(trace, MADE) == [f"made {unique}"]
    assert logged(trace, LATE) == ["late"], "of the last attempt alone"
    assert told == {vertex.digest: vertex for vertex in trace.vertices}, "no step stays as it failed"
    assert {place for v in trace.vertices for place in v.inputs} <= told.keys()
    assert trace.context_bytes == len(unique), "the engine kept it"
    assert (
        trace.context_digest
        == stagelens.build(project, engine=engine, secrets={"switch": switch}).context_digest
    )
    assert engine.api.inspect_image(f"{unique}:x")["Id"] == trace.image_id


@pytest.mark.engine
def test_without_the_cache_a_step_is_shown_as_in_the_last_attempt(
    engine: Engine, project: Path, switch: Path, unique: str, gives_up: Callable[[int], None]
) -> None:
    gives_up(1)
    trace = stagelens.build(project, engine=engine, no_cache=True, secrets={"switch": switch})
    assert (logged(trace, MADE), logged(trace, LATE)) == ([f"made {unique}"], ["late"])
    assert [v.name for v in trace.vertices if v.stage is not None and v.instruction and v.cached] == []
    first = trace.vertex(*MADE)
    assert first is not None
    assert (first.completed or 0) - trace.started > 0.4, "the second time"


@pytest.mark.engine
def test_fault_in_the_last_attempt_fails_no_line_and_no_step(
    engine: Engine, project: Path, switch: Path, gives_up: Callable[[int], None]
) -> None:
    gives_up(9)
    view = BuildView()
    with pytest.raises(EngineFault) as caught:
        view.build(project, engine=engine, secrets={"switch": switch}).result()
    assert "line" not in str(caught.value)
    assert "echo" not in str(caught.value)
    assert view.phase == "failed"
    states = {(step["stage"], step["instruction"]): step["state"] for step in view.steps}
    assert (states[MADE], states[LATE]) == ("done", "stopped")


@pytest.fixture
def gives_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The engine gives the first build up when its result is out."""
    made: list[int] = []

    def giving_up(*given: Any, **options: Any) -> str | None:
        made.append(len(made))
        image = solve(*given, **options)
        if len(made) == 1:
            raise BuildError(BUSY)
        return image

    monkeypatch.setattr(builder, "solve", giving_up)
    return made


@pytest.mark.engine
@pytest.mark.parametrize("backend", ["session", "upload"])
def test_archive_is_sent_again_with_each_attempt(
    engine: Engine, unique: str, tmp_path: Path, gives_up_at_the_end: list[int], backend: Backend
) -> None:
    context, dockerfile = tmp_path / "context.tar", f"FROM scratch\nCOPY Dockerfile /{unique}\n".encode()
    with tarfile.open(context, "w", format=tarfile.GNU_FORMAT) as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile))
    trace = stagelens.build(context, engine=engine, backend=backend)
    assert len(gives_up_at_the_end) == 2
    assert trace.context_bytes == 2 * context.stat().st_size
    assert trace.image_id


@pytest.mark.engine
def test_files_are_exported_again_and_a_partial_stream_is_not(
    engine: Engine, project: Path, switch: Path, unique: str, tmp_path: Path, gives_up_at_the_end: list[int]
) -> None:
    stagelens.build(project, engine=engine, secrets={"switch": switch}, output=LocalFolder(tmp_path / "out"))
    assert (tmp_path / "out/late").read_text() == unique
    gives_up_at_the_end.clear()
    stagelens.build(project, engine=engine, secrets={"switch": switch}, output=TarFile(tmp_path / "out.tar"))
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.getnames() == ["late"]
    gives_up_at_the_end.clear()
    stream = io.BytesIO()
    with pytest.raises(EngineFault):
        stagelens.build(project, engine=engine, secrets={"switch": switch}, output=FileSend(stream))
    assert len(gives_up_at_the_end) == 1
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        assert tar.getnames() == ["late"]
