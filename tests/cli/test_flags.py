"""`stagelens build` with secrets, SSH agents and exported results, in docker's syntax."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from stagelens.buildkit import Env, FileSend, LocalFolder, TarFile
from stagelens.cli import flags
from stagelens.engine import Engine

FILED, IN_ENVIRONMENT = "correct-horse", "battery-staple"


def build(context: Path, *options: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "stagelens_course", "build", context, *options]
    wide = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, env=wide, capture_output=True, check=False)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a secret in a file and another in a variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", IN_ENVIRONMENT)
    (tmp_path / "a,b").write_text(FILED)
    (tmp_path / "file").write_text(FILED)
    return tmp_path


def test_secret_is_a_file_or_a_variable(files: Path) -> None:
    for text in ("id=x,src=file", "src=file,id=x,type=file", "id=x,source=file", "ID=x,src=file"):
        assert flags.parse_secret(text) == flags.SecretFlag("x", Path("file")), text
    assert flags.parse_secret('id=x,"src=a,b"').value == Path("a,b")
    for text in ("id=x,env=TOKEN", "type=env,id=x,src=TOKEN"):
        assert flags.parse_secret(text) == flags.SecretFlag("x", Env("TOKEN")), text
    assert flags.parse_secret("id=TOKEN").value == Env("TOKEN"), "an id alone is a variable of that name"
    assert flags.parse_secret("id=file").value == Path("file"), "or else a file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (IN_ENVIRONMENT, "part 1 is none of id="),
        (f"id=x,value={IN_ENVIRONMENT}", "part 2 is none of"),
        ("src=file", "the id is missing"),
        ("", "the id is missing"),
        ("id=x,type=disk,src=file", "file or env"),
        ("id=x,src=file,env=TOKEN", "not both"),
        (f"id=x,src={IN_ENVIRONMENT}", "does not exist"),
        (f"id=x,env={IN_ENVIRONMENT}", "not set"),
        ("id=x,src=.", "does not exist"),
        (f"id=x,src=a\n{IN_ENVIRONMENT}", "on one line"),
    ],
)
def test_error_does_not_repeat_what_may_be_the_secret(files: Path, text: str, message: str) -> None:
    with pytest.raises(click.BadParameter, match=message) as caught:
        flags.parse_secret(text)
    assert IN_ENVIRONMENT not in str(caught.value)
    assert FILED not in repr(flags.SecretFlag("x", FILED.encode()))


def test_agent_has_an_id_and_a_socket(files: Path) -> None:
    assert flags.parse_agent("default") == flags.SshFlag("default", "")
    assert flags.parse_agent("git=/run/s") == flags.SshFlag("git", "/run/s")
    for text in ("git=", "git=/one,/two"):
        with pytest.raises(click.BadParameter, match="socket"):
            flags.parse_agent(text)


def test_result_is_exported_to_a_folder_or_a_tar(files: Path) -> None:
    for text in ("out=1", "type=local,dest=out=1"):
        found = flags.parse_output(text)
        assert isinstance(found, LocalFolder)
        assert found.path == Path("out=1")
    found = flags.parse_output("type=tar,dest=x.tar")
    assert isinstance(found, TarFile)
    assert found.path == Path("x.tar")
    for text in ("type=local", "type=local,dest=-", ""):
        with pytest.raises(click.BadParameter, match="folder"):
            flags.parse_output(text)
    with pytest.raises(click.BadParameter, match="--tag"):
        flags.parse_output("type=image,name=x")
    with pytest.raises(click.BadParameter, match="part 1 is none of dest="):
        flags.parse_output("type=tar,path=x")


def test_tar_is_not_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Screen(io.BytesIO()))
    for text in ("-", "type=tar", "type=tar,dest=-"):
        with pytest.raises(click.BadParameter, match="terminal"):
            flags.parse_output(text)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    assert isinstance(flags.parse_output("-"), FileSend)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """Return the socket of an agent that never answers."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        yield tmp_path / "s"


@pytest.mark.engine
def test_secrets_and_agents_reach_their_steps_and_the_result_is_exported(
    engine: Engine, files: Path, agent: Path, unique: str
) -> None:
    context = files / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "FROM diamol/base AS work\n"
        f"RUN --mount=type=secret,id=one --mount=type=secret,id=two : {unique};"
        " cat /run/secrets/one; echo; cat /run/secrets/two; cat /run/secrets/* | wc -c > /size\n"
        'RUN --mount=type=ssh,required test -S "$SSH_AUTH_SOCK"\n'
        "FROM scratch\nCOPY --from=work /size /size\n"
    )
    given = ["--secret", "id=one,src=file", "--secret", "id=two,env=TOKEN"]
    given += ["--ssh", f"default={agent}"]
    piped = build(context, *given, "--output", "-")
    assert piped.returncode == 0, piped.stderr
    with tarfile.open(fileobj=io.BytesIO(piped.stdout)) as tar:
        size = tar.extractfile("size")
        assert size is not None
        assert int(size.read()) == len(FILED + IN_ENVIRONMENT)
    assert b"no image" in piped.stderr, "the summary of the build goes to the standard error"

    # No step runs again: the files come from the cache.
    shown = piped.stderr
    for target in ("out", "type=tar,dest=out.tar"):
        done = build(context, *given, "-o", target)
        assert done.returncode == 0, done.stderr
        shown += done.stdout + done.stderr
    with tarfile.open(files / "out.tar") as tar:
        assert tar.getnames() == ["size"]
    assert (files / "out/size").read_text().strip() == str(len(FILED + IN_ENVIRONMENT))
    assert b"***" in shown
    for value in (FILED, IN_ENVIRONMENT):
        assert value.encode() not in shown


@pytest.mark.engine
def test_conflicting_options_are_refused_before_the_build(engine: Engine, files: Path) -> None:
    (files / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    both = build(files, "-o", "-", "--json")
    assert both.returncode == 2
    assert b"not both" in both.stderr
    wrong = build(files, "--secret", f"pw={IN_ENVIRONMENT}")
    assert wrong.returncode == 2
    assert b"--secret" in wrong.stderr
    assert IN_ENVIRONMENT.encode() not in wrong.stderr
    tagged = build(files, "-o", "out", "-t", "x")
    assert tagged.returncode == 1
    assert b"cannot have tags" in tagged.stderr
    no_agent = build(files, "--ssh", f"default={files}/file")
    assert no_agent.returncode == 1
    assert b"ssh-add" in no_agent.stderr


def test_dockerfile_from_the_standard_input_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="save it"):
        flags.parse_file("-")
    assert flags.parse_file("docker/App.Dockerfile") == Path("docker/App.Dockerfile")


@pytest.mark.parametrize(
    "name", ["a", "multi-stage:x", "me/app_1:V1.2", "Host.example:5000/a/b__c", "localhost/a", "[::1]:5000/a"]
)
def test_valid_image_name_is_unchanged(name: str) -> None:
    assert flags.parse_tag(name) == name


@pytest.mark.parametrize(
    "name", ["", "App", "a:", "a:::x", "a b", "a/", "-a", "a@sha256:" + "0" * 64, "me/App", "a\n", "a:\u00e9"]
)
def test_invalid_image_name_is_refused(name: str) -> None:
    with pytest.raises(click.BadParameter, match="not an image's name"):
        flags.parse_tag(name)


def test_build_argument_needs_a_name() -> None:
    assert [flags.parse_build_arg(text) for text in ("A=b", "A=", "A")] == ["A=b", "A=", "A"]
    with pytest.raises(click.BadParameter, match="name before the = is missing"):
        flags.parse_build_arg("=b")


def test_platform_is_one_and_a_build_context_has_a_name_and_a_value() -> None:
    assert flags.parse_platform("linux/aarch64") == "linux/arm64"
    with pytest.raises(click.BadParameter, match="build one platform at a time, first linux/amd64"):
        flags.parse_platform("linux/amd64,linux/arm64")
    assert flags.parse_build_context("a=docker-image://b:1=2") == ("a", "docker-image://b:1=2")
    for text in ("a", "a=", "=b"):
        with pytest.raises(click.BadParameter, match="NAME=FOLDER"):
            flags.parse_build_context(text)
