"""The same builds on every engine: the running one, and Engine 26 with either image store."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from stagelens_testing.engines import output_delay
from stagelens_testing.resources import no_leaks, threads, wait_until

import stagelens
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import Backend, BuildFailed, BuildTrace
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot.exploration import explore, read_file
from stagelens.snapshot.file_lister import FileLister
from stagelens.snapshot.layers import read_layers
from stagelens.snapshot.listing import Rows

pytestmark = pytest.mark.engine


def project(folder: Path, dockerfile: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_second_build_sends_nothing_and_an_edit_sends_one_file(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    files = {f"file{number}": f"{unique} {number}" for number in range(20)}
    context = project(
        tmp_path,
        "FROM diamol/base AS work\nCOPY . /in\nRUN cat /in/file* > /out\n"
        "FROM diamol/base\nCOPY --from=work /out /out\n",
        **files,
    )
    tag = f"{unique}:x"
    first = stagelens.build(context, engine=engine, tags=[tag])
    assert first.backend == "session"
    assert first.context_bytes >= sum(map(len, files.values()))
    assert engine.api.inspect_image(tag)["Id"] == first.image_id

    second = stagelens.build(context, engine=engine, tags=[tag])
    assert second.context_bytes == 0
    steps = [(0, 1), (0, 2), (1, 1)]
    assert all((vertex := second.vertex(*step)) and vertex.cached for step in steps)

    (context / "file7").write_text("edited")
    third = stagelens.build(context, engine=engine, tags=[tag])
    assert third.context_bytes == len("edited")
    assert third.image_id != first.image_id


def logs(trace: BuildTrace, stage: int, instruction: int) -> list[str]:
    vertex = trace.vertex(stage, instruction)
    assert vertex is not None
    return [line.text for line in vertex.logs]


def test_secret_exists_only_in_its_step(engine: Engine, tmp_path: Path, unique: str, clean: object) -> None:
    context = project(
        tmp_path / "c",
        f"FROM diamol/base\nRUN --mount=type=secret,id=pw echo {unique}; wc -c < /run/secrets/pw; "
        "cat /run/secrets/pw\n"
        f"RUN echo {unique}; ls /run/secrets || true\n",
    )
    (tmp_path / "secret").write_bytes(b"open sesame")
    for secret in (b"open sesame", tmp_path / "secret"):
        trace = stagelens.build(
            context, engine=engine, secrets={"pw": secret}, no_cache=True, tags=[f"{unique}:x"]
        )
        # Its 11 bytes are there, and a step that prints them does not get them into the trace.
        assert logs(trace, 0, 1) == [unique, "11", "***"]
        assert "open sesame" not in repr(trace)
    layers = read_layers(engine.api, f"{unique}:x")
    assert [e.size for e in layers.files_at(len(layers.layers) - 1) if e.path == "run/secrets/pw"] in (
        [],
        [0],
    )


def test_missing_required_secret_is_named(engine: Engine, tmp_path: Path, unique: str) -> None:
    context = project(tmp_path, "FROM diamol/base\nRUN --mount=type=secret,id=pw,required true\n")
    with pytest.raises(BuildFailed, match=r"secret pw.* not found") as caught:
        stagelens.build(context, engine=engine)
    assert caught.value.line == 2


def test_cache_mount_persists_between_builds(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    context = project(
        tmp_path,
        "FROM diamol/base\nARG number\n"
        f"RUN --mount=type=cache,id={unique},target=/k echo $number >> /k/f; cat /k/f\n",
    )
    for number, lines in (("1", ["1"]), ("2", ["1", "2"])):
        trace = stagelens.build(
            context, engine=engine, build_args={"number": number}, tags=[f"{unique}:{number}"]
        )
        assert logs(trace, 0, 2) == lines


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A real agent with a key of its own: its socket, and the key's fingerprint."""
    folder = tmp_path_factory.mktemp("a")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", folder / "key.pub"], check=True, capture_output=True, text=True
    )
    socket = folder / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_until(socket.exists, "the agent")
            environment = os.environ | {"SSH_AUTH_SOCK": str(socket)}
            subprocess.run(["ssh-add", "-q", folder / "key"], env=environment, check=True)
            yield str(socket), shown.stdout.split()[1]
        finally:
            agent.terminate()


def add_program(context: Path, name: str) -> None:
    """A program of this machine with the libraries it needs, at the same places below `context`/root."""
    program = shutil.which(name)
    assert program is not None
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in (program, *re.findall(r"(/\S+) \(0x", listed)):
        target = context / "root" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def test_step_reaches_an_ssh_agent(
    engine: Engine, tmp_path: Path, unique: str, clean: object, ssh: tuple[str, str]
) -> None:
    socket, fingerprint = ssh
    context = project(
        tmp_path,
        'FROM scratch\nCOPY root /\nRUN --mount=type=ssh,required ["/usr/bin/ssh-add", "-l"]\n'
        'RUN --mount=type=ssh,id=other,required ["/usr/bin/ssh-add", "-l"]\n',
    )
    add_program(context, "ssh-add")
    agents = {"default": socket, "other": socket}
    trace = stagelens.build(context, engine=engine, ssh=agents, no_cache=True, tags=[f"{unique}:x"])
    for instruction in (2, 3):
        assert fingerprint in " ".join(logs(trace, 0, instruction))
    with pytest.raises(BuildFailed, match="other") as caught:
        stagelens.build(context, engine=engine, ssh={"default": socket}, no_cache=True)
    assert caught.value.line == 4


HEREDOCS = """\
FROM diamol/base
RUN <<EOF
echo one
echo $((1 + 1))
EOF
COPY <<EOF /etc/made
text
EOF
RUN cat /etc/made
"""


def test_heredocs_and_linked_copies_if_the_frontend_has_them(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    heredocs = project(tmp_path / "h", HEREDOCS)
    linked = project(tmp_path / "l", "FROM diamol/base\nCOPY --link a /d/a\nRUN cat /d/a\n", a=unique)
    if engine.info.version.startswith("20."):
        for context, line in ((heredocs, 3), (linked, 2)):
            with pytest.raises(BuildFailed, match=f"line {line}\\b") as caught:
                stagelens.build(context, engine=engine)
            assert caught.value.line == line
            assert "# syntax=docker/dockerfile:1" in str(caught.value)
        return
    trace = stagelens.build(heredocs, engine=engine, no_cache=True, tags=[f"{unique}:h"])
    assert (logs(trace, 0, 1), logs(trace, 0, 3)) == (["one", "2"], ["text"])
    trace = stagelens.build(linked, engine=engine, no_cache=True, tags=[f"{unique}:l"])
    assert logs(trace, 0, 2) == [unique]


@pytest.mark.parametrize("backend", ["upload", "classic"])
def test_fallbacks_build_or_report_why_not(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend
) -> None:
    context = project(
        tmp_path, f"FROM diamol/base\nCOPY . /d\nRUN cat /d/a{output_delay(backend)}\n", a=unique
    )
    tag = f"{unique}:x"
    if backend == "upload" and engine.info.containerd_store:
        with pytest.raises(StagelensError, match="containerd") as caught:
            stagelens.build(context, engine=engine, tags=[tag], backend=backend)
        assert "moby/moby#47717" in str(caught.value)
        return
    trace = stagelens.build(context, engine=engine, tags=[tag], backend=backend)
    assert trace.backend == backend
    assert logs(trace, 0, 2) == [unique]
    assert engine.api.inspect_image(tag)["Id"] == trace.image_id


def running(text: str) -> bool:
    """Whether a process on this machine has `text` in its command line, in whatever namespace."""
    return any(text in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))


@pytest.mark.parametrize("backend", ["session", "upload", "classic"])
def test_cancel_ends_the_step_in_the_engine(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend
) -> None:
    if backend == "upload" and engine.info.containerd_store:
        pytest.skip("this engine builds no uploaded context (moby/moby#47717)")
    context = project(tmp_path, f"FROM diamol/base\nRUN echo {unique}; sleep 600; :\n")
    cancel = Cancel()

    def stop() -> None:
        try:
            wait_until(lambda: running(f"echo {unique}"), "the step")
        finally:
            cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    with no_leaks(threads), pytest.raises(BuildCancelled):
        stagelens.build(context, engine=engine, cancel=cancel, backend=backend)
    thread.join()
    wait_until(lambda: not running(f"echo {unique}"), "the step's end")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the engine's folder")
def test_layers_on_this_machine_are_read_without_the_file_lister(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = project(
        tmp_path,
        f"FROM diamol/base AS work\nRUN mkdir -p /w/a && echo {unique} > /w/a/f\nRUN echo 2 > /etc/2\n"
        "FROM work AS more\nRUN rm -r /w/a && echo 3 > /w/g\n"
        "FROM diamol/base\nCOPY --from=work /w /w\nCOPY --from=more /w /v\n",
    )
    trace = stagelens.build(context, engine=engine)
    asked: list[object] = []
    trees = FileLister.trees

    def noted(lister: FileLister, number: int, folders: Mapping[bytes, object]) -> Rows:
        asked.append((number, *folders))
        return trees(lister, number, folders)

    monkeypatch.setattr(FileLister, "trees", noted)
    assert explore(engine, context, trace, cache_folder=tmp_path / "keep").stage().final.get("w/a/f")
    assert not asked


def test_files_of_stages_equal_the_saved_image(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    context = project(
        tmp_path,
        "FROM diamol/base AS work\nWORKDIR /w\nCOPY . .\n"
        "RUN cat a > b && ln -s b c && rm a && mkdir -m 700 d\n"
        "FROM diamol/base\nCOPY --from=work /w /w\nRUN rm /w/c && cat /w/b > /w/d/e\n",
        a=unique,
    )
    tag = f"{unique}:x"
    trace = stagelens.build(context, engine=engine, tags=[tag])
    exploration = explore(engine, context, trace)
    work = exploration.stage("work")
    assert {"w/a"} == {entry.path for entry in work.changes(3).removed}
    assert read_file(exploration, "work", 3, "w/b").text == unique
    saved = read_layers(engine.api, tag)
    assert saved.image_id == trace.image_id
    probed, layers = (
        {e.path: replace(e, size=0, mtime=0) if e.kind == "dir" else e for e in table}
        for table in (exploration.stage().final, saved.files_at(len(saved.layers) - 1))
    )
    # Mount points, which the engine makes whenever a step runs.
    assert probed.keys() - layers.keys() <= {"dev", "etc", "proc", "sys"}
    assert {path: probed[path] for path in layers} == layers
