"""Builds on Podman: its own words become the same types. What it says was taken from Podman 4.3.1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
from stagelens_testing.engines import copy_image
from stagelens_testing.resources import PATIENCE

import stagelens
from stagelens.builds import BuildFailed
from stagelens.engine import Engine, EngineInfo, EngineNotFound, connect

DOCKERFILE = """\
ARG V=1
FROM diamol/base AS a
RUN echo one; echo two > /x
FROM a
COPY --from=a /x /y
RUN exit 3
"""
IMAGE = "b1b997be79a955dbde9b8a392953d7cab9bc5363125cd98cfd72632a30a4d22a"
STREAM = [
    "[1/2] STEP 1/2: FROM diamol/base AS a\n",
    "[1/2] STEP 2/2: RUN echo one; echo two > /x\n",
    "one\n",
    "--> c64c0c472a9\n",
    "[2/2] STEP 1/3: FROM 5f0a497452351d61949e0d2bdb11a5f4797c7413566e351a167988761873c17d\n",
    "[2/2] STEP 2/3: COPY --from=a /x /y\n",
    "--> Using cache 0f2372eee5f5878033ee24f197d7c2fc9d063e64b24f5cabdf2fd995a354a744\n",
    "--> 0f2372eee5f\n",
    "[2/2] STEP 3/3: RUN exit 3\n",
]
SUCCESS: list[dict[str, object]] = [
    {"stream": f"{IMAGE}\n"},
    {"aux": {"ID": f"sha256:{IMAGE}"}},
    {"stream": "Successfully built b1b997be79a9\n"},
]
FAILURE: list[dict[str, object]] = [
    {"error": 'building at STEP "RUN exit 3": while running runtime: exit status 3\n'}
]
Serve = Callable[[list[dict[str, object]]], Engine]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """An engine that answers a build with the lines given, as Podman does."""
    lines: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Describe the engine, under another identifier with every answer."""
            body = {
                "Version": "4.3.1",
                "ApiVersion": "1.41",
                "MinAPIVersion": "1.24",
                "Components": [{"Name": "Podman Engine"}],
                "ID": uuid.uuid4().hex,
                "Name": "machine",
                "DockerRootDir": "/var/lib/containers/storage",
            }
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            while (size := int(self.rfile.readline(), 16)) > 0:
                self.rfile.read(size + 2)
            self.rfile.readline()
            self.send_response(200)
            self.end_headers()
            self.wfile.write("".join(json.dumps(line) + "\n" for line in lines).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"tcp://127.0.0.1:{server.server_address[1]}"
    api = docker.APIClient(base_url=address, version="1.41")
    info = EngineInfo("4.3.1", "1.41", False, True, "overlay", False, "linux", "amd64", 2, 0, "")

    def answer(wanted: list[dict[str, object]]) -> Engine:
        lines.extend([*({"stream": text} for text in STREAM), *wanted])
        return Engine(lambda: api, address, "a test", info)

    yield answer
    api.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_steps_are_tied_to_stages_and_instructions(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    trace = stagelens.build(tmp_path, engine=serve(SUCCESS))
    assert (trace.backend, trace.image_id) == ("classic", f"sha256:{IMAGE}")
    assert [(v.stage, v.instruction, v.cached) for v in trace.vertices] == [
        (0, 0, False),
        (0, 1, False),
        (1, 0, False),
        (1, 1, True),
        (1, 2, False),
    ]
    assert [[line.text for line in v.logs] for v in trace.vertices] == [[], ["one"], [], [], []]
    assert len({v.digest for v in trace.vertices}) == 5
    assert any("cannot be looked into" in line for line in trace.limitations)


def test_failed_run_has_line_stage_and_exit_code(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(tmp_path, engine=serve(FAILURE))
    assert (caught.value.line, caught.value.exit_code) == (6, 3)
    assert caught.value.stage is not None
    assert caught.value.stage.index == 1


def test_engine_id_is_stable_although_podmans_id_changes(serve: Serve) -> None:
    address = serve([]).address
    found = [connect(address, start=False) for _ in range(2)]
    for each in found:
        each.api.close()
    assert [each.info.podman for each in found] == [True, True]
    assert found[0].info.id == found[1].info.id != ""


@pytest.fixture
def podman(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Podman of its own with diamol/base, in namespaces of its own; its data goes at the end."""
    folder = tmp_path_factory.mktemp("podman")
    address = f"unix://{folder}/p.sock"
    storage = f'[storage]\ndriver="vfs"\ngraphroot="{folder}/data"\nrunroot="{folder}/run"\n'
    (folder / "storage.conf").write_text(storage)
    settings = f'[containers]\nnetns="host"\ncgroups="disabled"\n[network]\nnetwork_config_dir="{folder}"\n'
    (folder / "containers.conf").write_text(settings)
    names = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
    script = 'mount -t tmpfs none /run && exec podman system service --time=0 "$0"'
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"]
    command += ["--kill-child", "--mount-proc", "sh", "-c", script, address]
    (folder / "tmp").mkdir()
    names["TMPDIR"] = "tmp"
    environment = os.environ | {name: str(folder / file) for name, file in names.items()}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        found = answering(address, process, folder / "log")
        copy_image(engine, found, "diamol/base")
        yield found
        found.api.close()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def answering(address: str, process: subprocess.Popen[bytes], log: Path) -> Engine:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return connect(address, start=False)
        except EngineNotFound:
            time.sleep(0.1)
    raise RuntimeError("Podman did not start:\n" + log.read_text()[-2000:])


@pytest.mark.engine
@pytest.mark.skipif(
    shutil.which("podman") is None or os.geteuid() != 0, reason="a real Podman, and root to start it"
)
def test_real_podman(podman: Engine, tmp_path: Path) -> None:
    assert podman.info.podman
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(tmp_path, engine=podman)
    assert (caught.value.line, caught.value.exit_code) == (6, 3)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("RUN exit 3", "CMD true"))
    trace = stagelens.build(tmp_path, engine=podman)
    assert trace.image_id
    assert {(v.stage, v.instruction) for v in trace.vertices} == {(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)}
    # The identifier of the engine is not a reason: only the step that changed runs, and because of its text.
    before = stagelens.record(tmp_path, trace, engine=podman)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("RUN exit 3", "RUN true"))
    after = stagelens.build(tmp_path, engine=podman)
    reports = stagelens.explain(before, stagelens.record(tmp_path, after, engine=podman))
    assert [(report.line, report.outcome) for report in reports] == [(3, "cached"), (5, "cached"), (6, "ran")]
    assert {cause.kind for cause in reports[-1].causes} == {"new"}
