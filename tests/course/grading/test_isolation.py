"""Hostile submissions: they earn what they deserve, and do not affect the next submission.

They run on a separate grading engine with small limits, in a separate network namespace.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from stagelens_testing.resources import PATIENCE

from stagelens import engine as engines
from stagelens.engine import Engine, PrivateEngine
from stagelens.engine.private.limits import CGROUPS, EngineLimits
from stagelens_course import grading, images
from stagelens_course.grading import Exercise, GradeReport
from stagelens_course.grading.checks import BuildSucceeds, Excludes, Responds
from stagelens_course.grading.leftovers import remove_leftovers
from stagelens_course.grading.submission_probe import EXPIRY_LABEL, FOLDER_PREFIX, LABEL, REPOSITORY

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        engines.start_blocker(limited=True) is not None,
        reason=f"no limited engine can start here: {engines.start_blocker(limited=True)}",
    ),
]
MB = 1024**2
LIMITS = EngineLimits(memory=256 * MB, pids=100, disk=1024 * MB)
PAGE = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nI am %s' \"$USER\" | nc -l -p 80; done"
HONEST = f"FROM diamol/base\nENV USER=nobody\nCMD {PAGE}\n"
BOMB = "bomb() { bomb | bomb & }; bomb; sleep 600"
START = """
import sys
from pathlib import Path
from stagelens import engine
from stagelens.engine.private.limits import EngineLimits
private = engine.PrivateEngine(Path(sys.argv[2]), EngineLimits(*map(int, sys.argv[3:])), offline=True)
engine.start_private(None, private) if sys.argv[1] == "start" else engine.stop_private(private)
"""


@pytest.fixture(scope="module")
def private(unique_here: str) -> Iterator[PrivateEngine]:
    """A running grading engine with small limits."""
    name = unique_here
    subprocess.run(["ip", "netns", "add", name], check=True)
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        private = PrivateEngine(Path(folder) / "grading", LIMITS, offline=True)

        def control(action: str) -> None:
            numbers = [str(n) for n in (LIMITS.memory, LIMITS.pids, LIMITS.disk)]
            command = [sys.executable, "-c", START, action, str(private.folder), *numbers]
            subprocess.run(["nsenter", f"--net=/run/netns/{name}", *command], check=True)

        try:
            control("start")
            yield private
        finally:
            control("stop")
            subprocess.run(["ip", "netns", "delete", name], check=True)
            assert not list(CGROUPS.rglob(private.name)), "no controller has its control group"
            assert str(folder) not in Path("/proc/self/mounts").read_text()


@pytest.fixture(scope="module")
def limited(private: PrivateEngine) -> Iterator[Engine]:
    engine = engines.connect(private.address)
    images.ensure(engine, ["diamol/base"])
    yield engine
    engine.api.close()


@pytest.fixture(scope="module")
def exercise() -> Exercise:
    """A page that shows USER."""
    go = grading.load_exercise("multi-stage-go")
    words = (1.0, "a hint", "a lesson")
    checks = (
        BuildSucceeds("builds", "It builds", *words),
        Responds("answers", "It answers", *words, text="nobody"),
        Responds("other", "To all", *words, text="nobody", variable="USER"),
        Excludes("small", "Small", *words, files=("*.go",)),
    )
    limits = grading.SubmissionLimits(build=60, answer=60, memory=64 * MB, pids=40)
    return replace(go, images=("diamol/base",), checks=checks, limits=limits, edits={})


@pytest.fixture(scope="module")
def hasty(exercise: Exercise) -> Exercise:
    """The same with little time to build, for builds that never end."""
    return replace(exercise, limits=replace(exercise.limits, build=3))


@pytest.fixture(scope="module")
def impatient(exercise: Exercise) -> Exercise:
    """The same with little time to answer."""
    return replace(exercise, limits=replace(exercise.limits, answer=1))


def submit(engine: Engine, exercise: Exercise, folder: Path, dockerfile: str) -> GradeReport:
    (folder / "Dockerfile").write_text(textwrap.dedent(dockerfile))
    return grading.grade_folder(exercise, folder, engine=engine)


def passed(report: GradeReport) -> set[str]:
    assert report.error is None
    return {check.id for check in report.checks if check.passed}


def seen(report: GradeReport, check: str) -> str:
    return next(result.seen for result in report.checks if result.id == check)


BUILDS = {
    "forks endlessly": (f"RUN {BOMB}", "stopped after 3 s|fork: Resource temporarily unavailable"),
    "sleeps forever": ("RUN sleep 100000", "stopped after 3 s"),
    "fills the disk": ("RUN dd if=/dev/zero of=/big bs=1M", "No space left on device"),
    "eats the memory": ("RUN tail /dev/zero", "exit code 137"),
    "prints endlessly": ("RUN yes", "stopped after 3 s"),
    "uses the network": ("RUN wget -q -O - http://172.30.0.1/", "unreachable"),
    "makes the engine fetch": ("ADD http://127.0.0.1:8888/secret /", "may not be used here"),
    "makes the engine fetch by a variable": ("ARG A=http://127.0.0.1/\nADD ${A} /", "may not be used here"),
    "selects a frontend": ("# a comment", "another frontend"),
    "asks for the host's network": ("RUN --network=host true", "network"),
    "asks for the host's privileges": ("RUN --security=insecure true", "security"),
    "has 100,000 instructions": ("RUN true\n" * 100_000, "A Dockerfile of this size"),
    "has 600 instructions": ("ENV A=1\n" * 600, "of 602 instructions"),
}


@pytest.mark.parametrize("name", BUILDS)
def test_hostile_build_earns_nothing(
    limited: Engine, exercise: Exercise, hasty: Exercise, tmp_path: Path, name: str
) -> None:
    step, words = BUILDS[name]
    text = f"FROM diamol/base\n{step}\n" if name != "selects a frontend" else f"# syntax=evil/one\n{HONEST}"
    endless = "stopped" in words
    report = submit(limited, hasty if endless else exercise, tmp_path, text)
    assert passed(report) == set()
    assert re.search(words, seen(report, "builds"))
    assert_unaffected(limited, exercise, tmp_path)


CONTAINERS = {
    "forks endlessly": f"CMD {BOMB}",
    "fills its disk": "CMD dd if=/dev/zero of=/tmp/big bs=1M; dd if=/dev/zero of=/big bs=1M; sleep 600",
    "fills a volume": "VOLUME /data\nCMD dd if=/dev/zero of=/data/big bs=1M; sleep 600",
    "eats the memory": "CMD tail /dev/zero",
    "logs endlessly": "CMD yes",
    "fills one volume of many": "VOLUME "
    + " ".join(f"/v{n}" for n in range(21))
    + "\nCMD dd if=/dev/zero of=/v20/big bs=1M; sleep 600",
    "has an invalid user": "USER 99999999999:nobody\nCMD sleep 600",
    "redirects the client": "CMD while true; do "
    "printf 'HTTP/1.0 302 Found\\r\\nLocation: http://172.30.0.1/\\r\\n\\r\\n' | nc -l -p 80; done",
    "answers endlessly": "CMD while true; do { echo 'HTTP/1.0 200 OK'; echo; yes; } | nc -l -p 80; done",
    "prints results": """CMD echo '{"passed": true, "earned": 4.0, "checks": []}'; sleep 600""",
    "serves only on its loopback": f"ENV USER=nobody\nCMD {PAGE.replace('-p 80', '-s 127.0.0.1 -p 80')}",
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_hostile_container_earns_only_the_points_of_its_build(
    limited: Engine, exercise: Exercise, impatient: Exercise, tmp_path: Path, name: str
) -> None:
    report = submit(limited, impatient, tmp_path, f"FROM diamol/base\n{CONTAINERS[name]}\n")
    assert passed(report) == {"builds", "small"}
    assert_unaffected(limited, exercise, tmp_path)


def test_container_has_no_network_no_capability_and_a_read_only_root(
    limited: Engine, exercise: Exercise, tmp_path: Path
) -> None:
    spy = """
        FROM diamol/base
        ENV USER=nobody
        CMD rights=$(grep -E 'CapPrm|CapEff|NoNewPrivs' /proc/self/status | cut -f2 | tr '\\n' ' '); \\
            links=$(ls /sys/class/net | tr '\\n' ' '); \\
            touch /x && links="$links written"; \\
            while true; do \\
              printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s%s%s' "$rights" "$links" $USER | nc -l -p 80; \\
            done
        """
    page = seen(submit(limited, exercise, tmp_path, spy), "answers")
    assert page == f"{'0' * 16} {'0' * 16} 1 lo nobody"


@pytest.mark.parametrize(
    "name", [f"{REPOSITORY}/solution:first", "stagelens/debian", "diamol/golang", "sha256:" + "0" * 64]
)
def test_other_images_cannot_be_used(limited: Engine, exercise: Exercise, tmp_path: Path, name: str) -> None:
    for text in (f"FROM {name}\n", f"FROM diamol/base\nCOPY --from={name} / /\n"):
        report = submit(limited, exercise, tmp_path, text)
        assert passed(report) == set()
        assert "may not be used here" in seen(report, "builds")


def test_stage_named_like_an_internal_one_changes_nothing(
    limited: Engine, exercise: Exercise, tmp_path: Path
) -> None:
    text = (
        f"FROM diamol/base AS lister\nRUN echo > /a.go\nFROM diamol/base AS base\n{HONEST}RUN echo > /b.go\n"
    )
    report = submit(limited, exercise, tmp_path, text)
    assert passed(report) == {"builds", "answers", "other"}
    assert seen(report, "small") == "/b.go"


def test_labels_and_healthcheck_of_an_image_are_ignored(
    limited: Engine, exercise: Exercise, tmp_path: Path
) -> None:
    dockerfile = f"""
        FROM diamol/base
        ENV USER=nobody
        LABEL {LABEL}=mine {EXPIRY_LABEL}=1 long={"x" * 40_000}
        HEALTHCHECK --interval=1ms CMD touch /tmp/checked
        ONBUILD RUN false
        STOPSIGNAL SIGCONT
        CMD while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nI am %s %s' "$USER" "$(ls /tmp)" | \\
              nc -l -p 80; sleep 0.2; done
        """
    report = submit(limited, exercise, tmp_path, dockerfile)
    assert passed(report) == {"builds", "answers", "other", "small"}
    assert "checked" not in seen(report, "answers")
    assert_unaffected(limited, exercise, tmp_path)


def test_cache_mounts_are_not_shared_between_submissions(
    limited: Engine, exercise: Exercise, tmp_path: Path
) -> None:
    mount = "RUN --mount=type=cache,target=/shared"
    submit(limited, exercise, tmp_path, f"FROM diamol/base\n{mount} echo poison > /shared/found\n")
    report = submit(limited, exercise, tmp_path, f"FROM diamol/base\n{mount} cat /shared/found\n")
    assert "poison" not in seen(report, "builds")
    assert "No such file" in seen(report, "builds")


def test_interrupt_while_a_container_is_created_leaves_none(
    limited: Engine, exercise: Exercise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = limited.api.create_container

    def interrupted(*arguments: Any, **options: Any) -> None:
        create(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(limited.api, "create_container", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit(limited, exercise, tmp_path, HONEST)
    assert nothing_left(limited)


def test_leftovers_of_a_killed_grader_are_removed_on_request(
    limited: Engine, private: PrivateEngine, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM diamol/base\nCMD sleep 600\n")
    script = textwrap.dedent(f"""
        from dataclasses import replace
        from stagelens import engine
        from stagelens_course import grading
        go = grading.load_exercise("multi-stage-go")
        go = replace(go, images=("diamol/base",), limits=grading.SubmissionLimits(answer=100))
        grading.grade_folder(go, {str(tmp_path)!r}, engine=engine.connect({private.address!r}))
        """)
    with subprocess.Popen([sys.executable, "-c", script]) as grader:
        filters = {"label": LABEL}
        assert eventually(lambda: len(limited.api.containers(filters=filters)) == 2)
        grader.send_signal(signal.SIGKILL)
    assert remove_leftovers(limited) == (), "nothing has expired: the grader could still be running"
    removed = remove_leftovers(limited, everything=True)
    assert sorted(thing.split()[0] for thing in removed) == ["container", "container", "folder", "image"]
    assert nothing_left(limited)
    assert not list(Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"))


def assert_unaffected(engine: Engine, exercise: Exercise, folder: Path) -> None:
    assert nothing_left(engine)
    assert eventually(lambda: not running_below(engine)), "none of its processes runs"
    report = submit(engine, exercise, folder, HONEST)
    assert passed(report) == {"builds", "answers", "other", "small"}


def nothing_left(engine: Engine) -> bool:
    filters = {"label": LABEL}
    return not engine.api.containers(all=True, filters=filters) and not engine.api.images(filters=filters)


def running_below(engine: Engine) -> list[int]:
    """Return the processes of the engine's containers and RUN steps."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            groups = Path(f"/proc/{process.pid}/cgroup").read_text()
        except OSError:
            continue
        if f"/{PrivateEngine(Path(engine.info.root_dir).parent).name}/" in groups:
            found.append(process.pid)
    return found


def eventually(condition: object) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False
