"""BuildKit's control API on a real engine: cache records, pruning, solving and cancelling."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stagelens_testing.resources import PATIENCE, wait_until

from stagelens.buildkit import (
    BuildCancelled,
    BuildError,
    BuildRequest,
    Cancel,
    Control,
    FileSend,
    FileSync,
    FolderSource,
    MemorySource,
    RpcError,
    Session,
    SessionService,
    cancel_build,
    solve,
)
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse
from stagelens.engine import Engine

pytestmark = pytest.mark.engine
TO_TAR = BuildRequest(outputs=({"Type": "tar", "Attrs": {}},))


@pytest.fixture
def control(engine: Engine) -> Iterator[Control]:
    with Control(engine.api) as found:
        yield found


def services(context: Path, text: str, *more: SessionService) -> list[SessionService]:
    return [
        FileSync(
            {"context": FolderSource(context), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
        ),
        *more,
    ]


def built(engine: Engine, context: Path, text: str) -> None:
    """Build without an image, so that no image shares the cache's records."""
    with Session(engine.api, services(context, text, FileSend(io.BytesIO()))) as session:
        solve(engine.api, TO_TAR, session=session.id)


def test_step_is_a_record_that_can_be_pruned(
    engine: Engine, control: Control, tmp_path: Path, unique: str
) -> None:
    before = time.time()
    text = f"FROM diamol/base\nRUN head -c 300000 /dev/urandom > /{unique}\n"
    built(engine, tmp_path, text)
    built(engine, tmp_path, text)
    mine = f"description~={unique}"
    # BuildKit lets go of a result some time after the build has answered.
    wait_until(lambda: not any(record.in_use for record in control.disk_usage([mine])), "the release")
    (record,) = control.disk_usage([mine])
    assert unique in record.description
    assert record.type == "regular"
    assert 300_000 <= record.size < 400_000
    assert before - 60 < record.created <= (record.last_used or 0) < time.time() + 60
    assert record.usage_count >= 2
    assert not record.shared
    assert record.parents
    assert [gone.id for gone in control.prune([f"id=={record.id}"], everything=True)] == [record.id]
    assert control.disk_usage([mine]) == ()


def test_invalid_filter_is_an_error_with_the_engines_text(control: Control) -> None:
    with pytest.raises(RpcError):
        control.disk_usage(["==="])
    assert control.workers(), "the connection goes on"


def test_solving_gives_events_and_the_result_without_an_image(
    engine: Engine, control: Control, tmp_path: Path, unique: str
) -> None:
    (tmp_path / "a").write_text(unique)
    work = "FROM diamol/base AS work\nARG WHO\nCOPY a /a\nRUN echo $WHO >> /a\n"
    text = f"{work}FROM scratch\nCOPY --from=work /a /\n"
    sink, seen = io.BytesIO(), list[StatusResponse]()
    with Session(engine.api, services(tmp_path, text, FileSend(sink))) as session:
        request = BuildRequest(outputs=TO_TAR.outputs, build_args={"WHO": "world"})
        control.solve(request, session=session.id, on_status=seen.append)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        content = archive.extractfile("a")
        assert content is not None
        assert content.read().decode() == f"{unique}world\n"
    names = [vertex.name for status in seen for vertex in status.vertexes if vertex.HasField("completed")]
    assert any("COPY a /a" in name for name in names)


def test_failed_solve_is_a_build_error(engine: Engine, control: Control, tmp_path: Path) -> None:
    with (
        Session(engine.api, services(tmp_path, "FROM diamol/base\nRUN exit 3\n")) as session,
        pytest.raises(BuildError, match="exit code: 3"),
    ):
        control.solve(BuildRequest(), session=session.id, on_status=lambda status: None)


def test_error_of_the_event_callback_reaches_the_caller(
    engine: Engine, control: Control, tmp_path: Path
) -> None:
    def fail(_: StatusResponse) -> None:
        raise ZeroDivisionError

    with (
        Session(engine.api, services(tmp_path, "FROM diamol/base\nRUN true\n")) as session,
        pytest.raises(ZeroDivisionError),
    ):
        control.solve(BuildRequest(), session=session.id, on_status=fail)


def test_solve_is_cancelled_and_followed_by_another_connection(
    engine: Engine, control: Control, tmp_path: Path, unique: str
) -> None:
    cancel = Cancel()
    text = f"FROM diamol/base\nRUN echo {unique}; sleep 600\n"
    heard = threading.Event()

    def follow() -> None:
        with Control(engine.api) as other:
            for status in other.status(unique):
                if any(unique.encode() in log.msg for log in status.logs):
                    heard.set()
                    return

    def stop() -> None:
        heard.wait(PATIENCE)
        cancel()

    threads = [threading.Thread(target=work) for work in (follow, stop)]
    with Session(engine.api, services(tmp_path, text)) as session:
        for thread in threads:
            thread.start()
        with pytest.raises(BuildCancelled):
            control.solve(BuildRequest(), session=session.id, ref=unique, cancel=cancel)
    for thread in threads:
        thread.join()
    assert heard.is_set()


def test_ref_cancels_a_build_from_elsewhere(engine: Engine, tmp_path: Path, unique: str) -> None:
    def watch(status: StatusResponse) -> None:
        if any(unique.encode() in log.msg for log in status.logs):
            cancel_build(engine.api, unique)

    with (
        Session(
            engine.api, services(tmp_path, f"FROM diamol/base\nRUN echo {unique}; sleep 600\n")
        ) as session,
        pytest.raises(BuildError, match="cancel"),
    ):
        solve(engine.api, BuildRequest(), session=session.id, ref=unique, on_status=watch)
