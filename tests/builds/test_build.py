"""Real builds: what a trace tells, how failures read, and what cancelling leaves."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from stagelens_testing.engines import output_delay
from stagelens_testing.resources import memory_growth, no_leaks, threads

import stagelens
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import Backend, BuildFailed, BuildTrace, LogLine, Vertex, builder
from stagelens.builds.logs import MAX_LINES, plain_line
from stagelens.dockerfile import DockerfileError, parse
from stagelens.engine import Engine, connect
from stagelens.errors import StagelensError

BACKENDS: tuple[Backend, ...] = ("session", "upload", "classic")


def project(tmp_path: Path, dockerfile: str, **files: str) -> Path:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r100%\r", "100%"),
        ("a\x00b\x08c", "a\\u{0}b\\u{8}c"),
        ("x\u202ey", "x\\u{202e}y"),
    ],
)
def test_terminal_escapes_in_logs_are_removed(raw: str, shown: str) -> None:
    assert plain_line(raw) == shown


@pytest.mark.engine
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_backend_ties_steps_to_lines(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend
) -> None:
    context = project(
        tmp_path,
        f"FROM diamol/base AS one\nRUN echo {unique} && echo more >&2{output_delay(backend)}\n"
        "FROM diamol/base\n"
        "COPY --from=one /etc/passwd /p\nCOPY here /h\nENV a=b\n",
        here="content",
    )
    seen: list[Vertex] = []
    lines: list[LogLine] = []

    def watch(vertex: Vertex, new: tuple[LogLine, ...]) -> None:
        seen.append(vertex)
        lines.extend(new)

    trace = stagelens.build(context, engine=engine, tags=[f"{unique}:x"], on_vertex=watch, backend=backend)
    assert trace.backend == backend
    run = trace.vertex(0, 1)
    assert run is not None
    assert not run.cached
    assert unique in [line.text for line in run.logs]
    assert trace.vertex(1, 1) is not None
    assert trace.vertex(1, 2) is not None
    assert any(vertex.instruction == 1 for vertex in seen), "events arrive while the build runs"
    assert unique in [line.text for line in lines]
    assert engine.api.inspect_image(f"{unique}:x")["Id"].startswith("sha256:")
    again = stagelens.build(context, engine=engine, tags=[f"{unique}:x"], backend=backend)
    cached = again.vertex(0, 1)
    assert cached is not None
    assert cached.cached


@pytest.mark.engine
@pytest.mark.parametrize("backend", BACKENDS)
def test_failed_run_has_stage_line_exit_code_and_log(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend
) -> None:
    context = project(
        tmp_path,
        "FROM diamol/base AS work\nRUN true\n"
        f"RUN for i in $(seq 30); do echo {unique} $i; done; \\\n"
        f"  printf '\\033[31mred\\n'{output_delay(backend)}; exit 7\n",
    )
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(context, engine=engine, backend=backend)
    failed = caught.value
    assert failed.stage is not None
    assert (failed.stage.label, failed.line, failed.exit_code) == ("work", 3, 7)
    assert len(failed.logs) == 20
    assert failed.logs[-1].text == "red"
    assert "line 3" in str(failed)
    assert "\x1b" not in str(failed)
    if backend == "classic":  # it keeps the container of the failed step
        for row in engine.api.containers(all=True, filters={"status": "exited"}):
            if unique in row["Command"]:
                engine.api.remove_container(row["Id"])


@pytest.mark.engine
def test_last_lines_of_an_endless_log_are_shown(engine: Engine, tmp_path: Path, unique: str) -> None:
    context = project(
        tmp_path, f"FROM diamol/base\nRUN : {unique}; seq 30000; echo ü; echo the end; exit 3\n"
    )
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(context, engine=engine)
    assert [line.text for line in caught.value.logs[-3:]] == ["30000", "ü", "the end"]
    vertex = caught.value.trace.vertex(0, 1)
    assert vertex is not None
    texts = [line.text for line in vertex.logs]
    assert len(texts) == MAX_LINES + 1
    assert (texts[0], texts[MAX_LINES // 2]) == ("1", "[10002 lines left out]")


@pytest.mark.parametrize(
    ("text", "message", "line", "advice"),
    [
        (
            "FROM a\nRUN <<E\necho\nE\n",
            "dockerfile parse error line 3: unknown instruction: ECHO",
            3,
            "syntax=",
        ),
        ("FROM a\nRUN x\n", "dockerfile parse error on line 2: no", 2, "newer engine"),
    ],
)
def test_line_that_an_older_engine_refuses_is_named(text: str, message: str, line: int, advice: str) -> None:
    trace = BuildTrace(parse(text), (), "session", None)
    failed = BuildFailed(f"failed to solve with frontend dockerfile.v0: {message}", trace)
    assert failed.line == line
    assert (failed.why or "").startswith("dockerfile parse error")
    assert advice in (failed.remedy or "")


@pytest.mark.engine
def test_error_in_the_ignore_file_has_its_line(engine: Engine, tmp_path: Path) -> None:
    context = project(tmp_path, "FROM scratch\nCOPY . /\n", **{".dockerignore": "a\n[b\n"})
    with pytest.raises(StagelensError, match=r"dockerignore, line 2"):
        stagelens.build(context, engine=engine)


@pytest.mark.engine
def test_cancel_stops_the_build_in_the_engine(engine: Engine, tmp_path: Path, unique: str) -> None:
    context = project(tmp_path, f"FROM diamol/base\nRUN echo {unique}; sleep 600\n")
    cancel = Cancel()

    def watch(vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        if lines:
            threading.Timer(0.2, cancel).start()

    with no_leaks(threads), pytest.raises(BuildCancelled):
        stagelens.build(context, engine=engine, on_vertex=watch, cancel=cancel)


@pytest.mark.engine
def test_interrupt_is_raised_when_the_engine_has_stopped_the_build(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may just be giving the image its name: whoever removes that then must not be too early."""
    context = project(tmp_path, f"FROM diamol/base\nRUN echo {unique}; sleep 600\n")
    ends: list[str] = []
    solve = builder.solve

    def heard_out(*given: Any, **named: Any) -> str | None:
        try:
            return solve(*given, **named)
        finally:
            ends.append(type(sys.exc_info()[1]).__name__)

    def watch(vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        if lines:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(builder, "solve", heard_out)
    with no_leaks(threads), pytest.raises(KeyboardInterrupt):
        stagelens.build(context, engine=engine, tags=[f"{unique}:x"], on_vertex=watch)
    assert ends == ["BuildCancelled"]
    assert not engine.api.images(name=f"{unique}:x")


@pytest.mark.engine
def test_cancel_of_the_caller_outlives_an_interrupt(engine: Engine, tmp_path: Path) -> None:
    context = project(tmp_path, "FROM diamol/base\nENV A=1\n")
    cancel = Cancel()

    def watch(vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stagelens.build(context, engine=engine, on_vertex=watch, cancel=cancel)
    assert stagelens.build(context, engine=engine, cancel=cancel).vertices


@pytest.mark.engine
def test_second_build_sends_only_changed_files(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    context = project(tmp_path, "FROM scratch\nCOPY . /c\n", **{f"f{i}": str(i) * 1000 for i in range(300)})
    first = stagelens.build(context, engine=engine, tags=[f"{unique}:x"])
    (context / "f7").write_text("edited")
    second = stagelens.build(context, engine=engine, tags=[f"{unique}:x"])
    assert first.context_bytes > 300_000
    assert second.context_bytes <= first.context_bytes / 100


@pytest.mark.engine
def test_dockerignore_excludes_files(engine: Engine, tmp_path: Path, unique: str, clean: object) -> None:
    context = project(
        tmp_path,
        "FROM diamol/base\nCOPY . /c\nRUN cd /c && find . -type f | sort\n",
        a="1",
        b="2",
        c="3",
        **{".dockerignore": "*\n!b\n# c\n"},
    )
    trace = stagelens.build(context, engine=engine, no_cache=True, tags=[f"{unique}:x"])
    run = trace.vertex(0, 2)
    assert run is not None
    assert [line.text for line in run.logs] == ["./b"]


@pytest.mark.engine
def test_secrets_reach_only_their_step(engine: Engine, tmp_path: Path, unique: str) -> None:
    context = project(
        tmp_path,
        f"FROM diamol/base\nRUN --mount=type=secret,id=pw echo {unique} && wc -c < /run/secrets/pw\n",
    )
    trace = stagelens.build(context, engine=engine, secrets={"pw": b"hunter2-hunter2"})
    run = trace.vertex(0, 1)
    assert run is not None
    assert run.logs[-1].text.strip() == "15"
    assert "hunter2" not in repr(trace)


@pytest.mark.engine
def test_large_file_is_streamed(engine: Engine, tmp_path: Path, unique: str, clean: object) -> None:
    context = project(tmp_path, "FROM scratch\nCOPY big /big\n")
    with (context / "big").open("wb") as file:
        file.truncate(400 * 1024**2)
    before = "import stagelens, stagelens.engine as e; engine = e.connect(sys.argv[1], start=False)"
    code = """
trace = stagelens.build(sys.argv[2], engine=engine, tags=[sys.argv[3]])
assert trace.context_bytes >= 400 * 1024**2
"""
    assert memory_growth(before, code, engine.address, context, f"{unique}:x") < 100 * 1024**2


@pytest.mark.engine
def test_missing_context_file_is_named(engine: Engine, tmp_path: Path) -> None:
    context = project(tmp_path, "FROM diamol/base\nCOPY nothere /\n")
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(context, engine=engine)
    assert caught.value.line == 2


def test_missing_folder_and_missing_dockerfile_are_errors_without_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(StagelensError, match="not a folder"):
        stagelens.build(tmp_path / "no")
    with pytest.raises(DockerfileError, match="no such file"):
        stagelens.build(tmp_path)
    (tmp_path / "Dockerfile").write_text("FRM a\n")
    with pytest.raises(DockerfileError):
        stagelens.build(tmp_path)


@pytest.mark.engine
def test_fifo_in_the_context_does_not_block(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    context = project(tmp_path, "FROM scratch\nCOPY . /c\n", a="1")
    os.mkfifo(context / "pipe")
    (context / "link").symlink_to("/etc/shadow")
    trace = stagelens.build(context, engine=engine, tags=[f"{unique}:x"])
    assert trace.image_id


def test_concurrent_builds_of_one_folder(engine: Engine, tmp_path: Path, unique: str, clean: object) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM diamol/base\nRUN echo {unique}\nARG WHO\nCOPY data /data\nRUN echo $WHO > /who\n"
    )
    (tmp_path / "data").write_bytes(os.urandom(1 << 20))

    def one(who: str) -> BuildTrace:
        own = connect(engine.address, start=False)
        try:
            return stagelens.build(tmp_path, engine=own, tags=[f"{unique}:{who}"], build_args={"WHO": who})
        finally:
            own.api.close()

    with ThreadPoolExecutor() as pool:
        traces = list(pool.map(one, ("a", "b")))
    assert len({trace.image_id for trace in traces}) == 2
    sizes = [engine.api.inspect_image(f"{unique}:{who}")["Size"] for who in ("a", "b")]
    assert min(sizes) > 1 << 20
