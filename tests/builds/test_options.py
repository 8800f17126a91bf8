"""What a build may take and give besides a folder and an image: archives, outputs, secrets, SSH agents."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stagelens_testing.engines import output_delay

import stagelens
from stagelens.buildkit import (
    BuildKitError,
    BuildRequest,
    Env,
    FileSend,
    LocalFolder,
    ResultError,
    RpcError,
    Secrets,
    SshAgents,
)
from stagelens.buildkit.grpc import Client, Server
from stagelens.buildkit.proto.buildkit_pb2 import BytesMessage, CheckAgentRequest, Empty, GetSecretRequest
from stagelens.builds import Backend, BuildFailed, BuildSpec, BuildTrace
from stagelens.engine import Engine
from stagelens.errors import StagelensError

SECRET = "correct-horse-battery"


def lines(trace: BuildTrace, instruction: int, stage: int = 0) -> list[str]:
    vertex = trace.vertex(stage, instruction)
    assert vertex is not None
    return [line.text for line in vertex.logs]


def project(folder: Path, dockerfile: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.engine
def test_result_is_exported_to_a_folder_instead_of_an_image(engine: Engine, tmp_path: Path) -> None:
    context = project(tmp_path / "c", "FROM scratch\nCOPY a /bin/a\n", a="content")
    trace = stagelens.build(context, engine=engine, output=LocalFolder(tmp_path / "out"))
    assert trace.image_id is None
    assert [str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*")] == ["bin", "bin/a"]
    assert (tmp_path / "out/bin/a").read_text() == "content"


@pytest.mark.engine
def test_unwritable_result_is_an_error_with_its_path(engine: Engine, tmp_path: Path) -> None:
    context = project(tmp_path / "c", "FROM scratch\nCOPY a /a\n", a="content")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ResultError) as caught:
        stagelens.build(context, engine=engine, output=LocalFolder(tmp_path / "out"))
    assert str(tmp_path / "out") in str(caught.value)


@pytest.mark.engine
def test_options_that_need_a_session_are_refused_without_one(engine: Engine, tmp_path: Path) -> None:
    context = project(tmp_path / "c", "FROM scratch\nCOPY a /a\n", a="content")
    for backend in ("upload", "classic"):
        with pytest.raises(StagelensError, match="session"):
            stagelens.build(context, engine=engine, backend=backend, secrets={"x": b"value"})
        with pytest.raises(StagelensError, match="session"):
            stagelens.build(context, engine=engine, backend=backend, output=FileSend(io.BytesIO()))
    with pytest.raises(StagelensError, match="tags"):
        stagelens.build(context, engine=engine, output=FileSend(io.BytesIO()), tags=["x"])


@pytest.mark.engine
@pytest.mark.parametrize("backend", ["session", "upload", "classic"])
@pytest.mark.parametrize("compression", ["", "gz"])
def test_context_may_be_a_tar(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend, compression: str
) -> None:
    text = f"FROM diamol/base\nCOPY . /c\nRUN cat /c/a; ls /c{output_delay(backend)}\nLABEL a={unique}\n"
    context = project(tmp_path / "c", "FROM scratch\n", a=f"{unique} {compression}\n", Other=text)
    archive = tmp_path / "context.tar"
    with tarfile.open(archive, f"w:{compression}", format=tarfile.GNU_FORMAT) as tar:  # pyright: ignore
        tar.add(context, ".")
    trace = stagelens.build(archive, dockerfile="Other", engine=engine, tags=[f"{unique}:x"], backend=backend)
    assert lines(trace, 2) == [f"{unique} {compression}", "Dockerfile", "Other", "a"]
    assert trace.context_bytes == archive.stat().st_size
    with pytest.raises(StagelensError, match=r"folder|BuildKit"):
        stagelens.explore(archive, trace, engine=engine)


@pytest.mark.engine
@pytest.mark.parametrize("backend", ["session", "upload", "classic"])
def test_tar_with_extended_headers_and_a_lower_case_dockerfile_builds(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend
) -> None:
    context = project(tmp_path / "c", "", a=unique)
    text = f"FROM diamol/base\nCOPY a /\nRUN cat /a{output_delay(backend)}\n"
    (context / "Dockerfile").unlink()
    (context / "dockerfile").write_text(text)
    archive = tmp_path / "context.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(context, ".")
    trace = stagelens.build(archive, engine=engine, tags=[f"{unique}:x"], backend=backend)
    assert lines(trace, 2) == [unique]
    assert lines(stagelens.build(context, engine=engine, backend=backend, no_cache=True), 2) == [unique]


def test_invalid_tar_and_tar_without_a_dockerfile_are_errors(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no tar")
    with pytest.raises(StagelensError, match="neither a folder nor a readable tar"):
        stagelens.build(tmp_path / "x")
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        tar.add(tmp_path / "x", "x")
    with pytest.raises(StagelensError, match="has no Dockerfile"):
        stagelens.build(tmp_path / "y.tar")
    with tarfile.open(tmp_path / "z.tar", "w") as tar:
        tar.add(tmp_path / "x", "./Dockerfile.txt")
    with pytest.raises(StagelensError, match=r"rename Dockerfile\.txt in it"):
        stagelens.build(tmp_path / "z.tar")
    with pytest.raises(StagelensError, match="not a folder"):
        stagelens.build(tmp_path / "nothing")


@pytest.mark.engine
@pytest.mark.parametrize("backend", ["session", "upload", "classic"])
def test_dockerfile_outside_the_context_has_a_separate_ignore_file(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend
) -> None:
    context = project(tmp_path / "c", "FROM scratch\n", keep=unique, drop="")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = f"FROM diamol/base\nCOPY . /c\nRUN ls /c; : {unique}{output_delay(backend)}\n"
    (elsewhere / "My.Dockerfile").write_text(text)
    (elsewhere / "My.Dockerfile.dockerignore").write_text("drop\nDockerfile\n")
    trace = stagelens.build(
        context,
        dockerfile=elsewhere / "My.Dockerfile",
        engine=engine,
        tags=[f"{unique}:x"],
        backend=backend,
    )
    assert lines(trace, 2) == ["keep"]
    if backend == "session":
        files = stagelens.explore(context, trace, engine=engine)
        copied = files.stage(0).tables[1].get("c/keep")
        assert copied is not None
        assert files.stage(0).tables[1].get("c/drop") is None


def test_ignore_file_that_links_out_of_its_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("of the machine")
    context = project(tmp_path / "c", "FROM scratch\n")
    (context / "Dockerfile.dockerignore").symlink_to("../private")
    job = BuildSpec(context, BuildRequest(dockerfile="Dockerfile"), "FROM scratch\n")
    assert set(job.dockerfile_tree().files) == {"Dockerfile"}
    (context / "private").write_text("of the project")
    assert set(job.dockerfile_tree().files) == {"Dockerfile", "Dockerfile.dockerignore"}


@pytest.mark.engine
def test_secrets_come_from_bytes_files_and_variables(
    engine: Engine, tmp_path: Path, unique: str, clean: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELENS_TEST_SECRET", f"{SECRET}-3")
    (tmp_path / "secret").write_text(f"{SECRET}-2")
    mounts = " ".join(f"--mount=type=secret,id=s{n}" for n in (1, 2, 3))
    context = project(
        tmp_path / "c", f"FROM diamol/base\nRUN {mounts} cat /run/secrets/* | sha256sum; : {unique}\n"
    )
    trace = stagelens.build(
        context,
        engine=engine,
        tags=[f"{unique}:x"],
        secrets={
            "s1": f"{SECRET}-1".encode(),
            "s2": tmp_path / "secret",
            "s3": Env("STAGELENS_TEST_SECRET"),
        },
    )
    digest = hashlib.sha256("".join(f"{SECRET}-{n}" for n in (1, 2, 3)).encode()).hexdigest()
    assert lines(trace, 1) == [f"{digest}  -"]


@pytest.mark.engine
def test_printed_secret_is_in_no_log_error_or_traceback(engine: Engine, tmp_path: Path, unique: str) -> None:
    command = f"cat /run/secrets/pw; echo; cat /run/secrets/pw >&2; : {unique}; exit 3"
    context = project(tmp_path, f"FROM diamol/base\nRUN --mount=type=secret,id=pw {command}\n")
    seen: list[object] = []
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(
            context,
            engine=engine,
            secrets={"pw": f"{SECRET}\nsecond line".encode()},
            on_vertex=lambda *event: seen.append(event),
        )
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    for text in (repr(seen), shown, repr(caught.value.trace), repr(caught.value.__dict__)):
        assert SECRET not in text
        assert "second line" not in text
    assert "***" in shown


def test_each_line_of_a_secret_is_masked_and_short_ones_are_not() -> None:
    secrets = Secrets({"a": b"top\n  longer line \nx", "b": b"yy", "c": b"topmost"})
    handlers = secrets.methods()
    assert secrets.mask("longer line") == "longer line", "nothing was handed out yet"
    for name in ("a", "b", "c"):
        _ask(handlers, name)
    assert secrets.mask("a longer line, top, topmost, x, yy") == "a ***, top, ***, x, yy"


def _ask(handlers: dict[str, object], name: str) -> None:
    class Channel:
        def receive(self) -> Iterator[bytes]:
            yield GetSecretRequest(id=name).SerializeToString()

        def send(self, message: bytes) -> None:
            assert message

    (handler,) = handlers.values()
    handler(Channel())  # pyright: ignore


def test_missing_agent_and_key_instead_of_an_agent_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "id_ed25519").write_text("a key")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for path in (str(tmp_path / "id_ed25519"), str(tmp_path / "nothing"), ""):
        with pytest.raises(BuildKitError, match="ssh-add"):
            SshAgents({"default": path})


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """Something that listens as an agent does, and says what it heard."""
    place = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()

        def serve() -> None:
            with suppress(OSError):  # nobody came until the end
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"heard " + connection.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(place)
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # wakes accept, which closing does not
            thread.join()


def test_bytes_reach_the_agent_and_return(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    ours, theirs = socket.socketpair()
    server, client = Server(ours, SshAgents({"default": ""}).methods()), Client(theirs)
    with pytest.raises(RpcError, match="unset ssh forward key other"):
        client.unary("/moby.sshforward.v1.SSH/CheckAgent", CheckAgentRequest(id="other"), Empty)
    call = client.call("/moby.sshforward.v1.SSH/ForwardAgent", [("buildkit.ssh.id", "default")])
    call.send(BytesMessage(data=b"hello").SerializeToString())
    call.close_send()
    assert [BytesMessage.FromString(message).data for message in call.receive()] == [b"heard hello"]
    client.close()
    server.close()


@pytest.mark.engine
def test_step_reaches_the_agent(
    engine: Engine, tmp_path: Path, unique: str, clean: object, agent: str
) -> None:
    text = f"FROM diamol/base\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo {unique}\n"
    context = project(tmp_path / "c", text)
    trace = stagelens.build(context, engine=engine, tags=[f"{unique}:x"], ssh={"default": agent})
    assert lines(trace, 1) == [unique]
