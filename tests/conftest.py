"""Fixtures that the tests of all packages share."""

from __future__ import annotations

import gc
import itertools
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import docker
import psutil
import pytest
from docker.errors import APIError, NotFound
from hypothesis import HealthCheck, settings
from IPython.core.interactiveshell import InteractiveShell
from stagelens_testing.resources import PATIENCE, children, engine_is_exclusive
from traitlets.config import Config

from stagelens import timeouts
from stagelens.buildkit import BuildRequest
from stagelens.builds import BuildTrace
from stagelens.dockerfile import parse
from stagelens.engine import Engine, EngineNotFound, connect, remove_container, remove_network
from stagelens.snapshot import Entry, Exploration, FileTable, StageFiles
from stagelens_course import timeouts as course_timeouts

_FIXTURES = ("engines", "machine", "registry", "sshd")
pytest_plugins = tuple(f"stagelens_testing.{name}" for name in _FIXTURES)

# An example takes as long as the machine has it take, and a run finds what the run before found.
settings.register_profile(
    "anywhere", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("anywhere")

# Messages name the command as an installation does, even where the clone's ./stagelens runs the tests.
os.environ.pop("STAGELENS_PROGRAM", None)

TEST_LABEL = "stagelens.test"
# Names of this run's things begin with it, so that runs side by side on one engine can tell theirs apart.
RUN = f"sltest-{secrets.token_hex(3)}"
_BEFORE = pytest.StashKey[set[str]]()
_TEMPORARY = pytest.StashKey[Path]()
# When each test began (seconds since 1970, as files and processes have it), and the names it was given.
_BEGUN: list[tuple[float, str]] = []
_GIVEN: dict[str, str] = {}


def listing(api: docker.APIClient) -> set[str]:
    """Every container, image tag, network and volume of an engine, as `kind name`."""
    containers = {f"container {row['Names'][0].lstrip('/')}" for row in api.containers(all=True)}
    names = {tag for row in api.images() for tag in row.get("RepoTags") or []}
    tags = {f"image {name}" for name in names - {"<none>:<none>"}}
    networks = {f"network {row['Name']}" for row in api.networks()}
    volumes = {f"volume {row['Name']}" for row in api.volumes().get("Volumes") or []}
    return containers | tags | networks | volumes


# The first lesson leaves its image on purpose: a learner goes on with it in a terminal.
LESSON_IMAGE = "multi-stage:latest"


def _remove_lesson_image(before: set[str]) -> None:
    if f"image {LESSON_IMAGE}" in before:
        return
    with suppress(EngineNotFound, APIError), closing(connect(start=False).api) as api:
        api.remove_image(LESSON_IMAGE)


def _engine_listing() -> set[str]:
    try:
        engine = connect(start=False)
    except EngineNotFound:
        return set()
    try:
        return listing(engine.api)
    finally:
        engine.api.close()


def leftovers(before: set[str], after: set[str], temporary: Path) -> list[str]:
    """What a run left, and where it comes from.

    On an engine of its own that is everything new, on a shared one what has this run's name.
    """
    new = after - before
    if not engine_is_exclusive():
        new = {thing for thing in new if RUN in thing}
    givers = {thing: [test for name, test in _GIVEN.items() if name in thing] for thing in new}
    made = [" of ".join([thing, *tests]) for thing, tests in sorted(givers.items())]
    return made + [_described(path) for path in sorted(temporary.iterdir())]


def _described(path: Path) -> str:
    """A temporary file or folder: how large, written when, and what is in it."""
    try:
        state = path.lstat()
        if path.is_dir():
            names = sorted(each.name for each in path.iterdir())
            content = f"folder with {', '.join(names[:8]) or 'nothing in it'}"
        else:
            content = f"{state.st_size} bytes beginning with {_beginning(path)!r}"
    except OSError as error:  # it may be on its way out
        return f"temporary {path.name}: {error.strerror}"
    return f"temporary {path.name}: {content}, last written {_when(state.st_mtime)}"


def _beginning(path: Path) -> bytes:
    if not path.is_file():  # a socket say
        return b""
    with path.open("rb") as file:
        return file.read(60)


def _when(moment: float) -> str:
    """The test that ran at a moment, or within a second of it: as exact is a process's."""
    tests = [test for begun, test in _BEGUN if begun <= moment + 1]
    return f"about when {tests[-1]} ran" if tests else "before the first test"


def pytest_runtest_logstart(nodeid: str) -> None:
    """Note when a test begins: what is left tells by its own time where it comes from."""
    _BEGUN.append((time.time(), nodeid))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note what is there, and give temporary files of this run and its programs a folder of their own."""
    if hasattr(session.config, "workerinput"):
        return
    # A shell that starts us in the background has us ignore Ctrl-C, and our programs would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests have other users read what they write, as they may on most machines.
    os.umask(0o022)
    session.config.stash[_BEFORE] = _engine_listing()
    # pytest's own folders are kept on purpose, for looking into after a failure.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="slt-"))
    session.config.stash[_TEMPORARY] = folder
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves something behind; all fixtures are torn down by now."""
    folder = session.config.stash.get(_TEMPORARY, None)
    if folder is None:
        return
    before = session.config.stash[_BEFORE]
    _remove_lesson_image(before)
    # What only an unreachable cycle still holds is on its way out, and so is a program that was told to end.
    gc.collect()
    deadline = time.monotonic() + float(os.environ.get("STAGELENS_TEST_PATIENCE", PATIENCE))
    while (left := _left(before, folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    shutil.rmtree(folder, ignore_errors=True)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\n\nThe tests left behind:\n" + "\n".join(f"  {thing}" for thing in left))


def _left(before: set[str], temporary: Path) -> list[str]:
    # Python's own helper of multiprocessing ends with this process.
    programs = [(pid, line) for pid, line in children() if "multiprocessing.resource_tracker" not in line]
    return leftovers(before, _engine_listing(), temporary) + [_program(*each) for each in programs]


def _program(pid: int, line: str) -> str:
    with suppress(psutil.NoSuchProcess):
        return f"process {pid} {line[:200]}: started {_when(psutil.Process(pid).create_time())}"
    return f"process {pid} {line[:200]}"


def made_exploration(dockerfile: str, *stages: list[list[Entry]]) -> Exploration:
    """An explored build made by hand: for each stage the files after each of its instructions.

    The same list again stands for an instruction that changed nothing. It has no engine: whoever asks for a
    file's content fails.
    """
    parsed = parse(dockerfile)
    trace = BuildTrace(parsed, (), "session", "sha256:0")
    made = {id(entries): FileTable.from_entries(entries) for stage in stages for entries in stage}
    tables = [[made[id(entries)] for entries in stage] for stage in stages]
    files = tuple(StageFiles(parsed.stages[n], tuple(each)) for n, each in enumerate(tables))
    return Exploration(trace, files, Path(), BuildRequest(), cast("Engine", None))


@pytest.fixture(scope="session")
def explored() -> Callable[..., Exploration]:
    """`made_exploration`, for tests in other folders."""
    return made_exploration


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A real engine that is already running (`./stagelens test` provides one)."""
    found = connect(start=False)
    yield found
    found.api.close()


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A prefix for names that no other test uses."""
    return _given(request)


@pytest.fixture(scope="module")
def unique_here(request: pytest.FixtureRequest) -> str:
    """A prefix for names that no other module of tests uses."""
    return _given(request)


def _given(request: pytest.FixtureRequest) -> str:
    name = f"{RUN}{secrets.token_hex(3)}"
    _GIVEN[name] = request.node.nodeid
    return name


@pytest.fixture
def set_timeouts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that changes time limits of the library and the course until the test ends."""

    def set_timeouts(**seconds: Any) -> None:
        for name, value in seconds.items():
            module = timeouts if hasattr(timeouts.current, name) else course_timeouts
            monkeypatch.setattr(module, "current", replace(module.current, **{name: value}))

    return set_timeouts


@pytest.fixture
def stalling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for ten seconds whenever somebody looks at the clock."""
    seconds = itertools.count(time.monotonic(), 10)
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))


class Cleaner:
    """Removes what a test made: by label, by name prefix.

    `labels` goes into `labels=` of whatever the test creates; names that begin with the test's `unique`
    are found too, and `also(prefix)` adds a further prefix.
    """

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._api = engine.api
        self._prefixes = [prefix]
        self.labels = {TEST_LABEL: prefix}

    def also(self, prefix: str) -> None:
        self._prefixes.append(prefix)

    def _ours(self, names: list[str], labels: dict[str, str] | None) -> bool:
        if (labels or {}).get(TEST_LABEL) == self.labels[TEST_LABEL]:
            return True
        return any(name.lstrip("/").startswith(p) for name in names for p in self._prefixes)

    def now(self) -> None:
        """Containers first, since they hold the rest."""
        api = self._api
        for row in api.containers(all=True):
            if self._ours([*(row.get("Names") or []), row.get("Image", "")], row.get("Labels")):
                remove_container(api, row["Id"])
        for row in api.images():
            tags = row.get("RepoTags") or []
            if not self._ours(tags, row.get("Labels")):
                continue
            ours = [tag for tag in tags if self._ours([tag], None)]
            # An image that also has somebody else's tag only loses ours.
            for reference in ours or ([row["Id"]] if not tags or tags == ["<none>:<none>"] else tags):
                with suppress(NotFound, APIError):
                    api.remove_image(reference, force=True)
        for row in api.networks():
            if self._ours([row.get("Name", "")], row.get("Labels")):
                remove_network(api, row["Id"])
        for row in api.volumes().get("Volumes") or []:
            if self._ours([row["Name"]], row.get("Labels")):
                with suppress(NotFound):
                    api.remove_volume(row["Name"], force=True)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """IPython, so that what is displayed in a cell can be captured."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    yield
    InteractiveShell.clear_instance()


@pytest.fixture
def clean(engine: Engine, unique: str) -> Iterator[Cleaner]:
    """Removes at the end every container, image, network and volume of this test."""
    cleaner = Cleaner(engine, unique)
    yield cleaner
    cleaner.now()
