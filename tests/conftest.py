"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

import docker
import pytest
from docker.errors import APIError, NotFound
from hypothesis import HealthCheck, settings
from stagelens_testing.held import PATIENCE, children

from stagelens.build import BuildTrace
from stagelens.buildkit import BuildRequest
from stagelens.dockerfile import parse
from stagelens.engine import Engine, EngineNotFound, connect
from stagelens.snapshot import Entry, Exploration, FileTable, StageFiles

pytest_plugins = ("stagelens_testing.engines", "stagelens_testing.registry")

# An example takes as long as the machine has it take, and a run finds what the run before found.
settings.register_profile(
    "anywhere", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("anywhere")

TEST_LABEL = "stagelens.test"
# Names of this run's things begin with it, so that runs side by side on one engine can tell theirs apart.
RUN = f"sltest-{secrets.token_hex(3)}"
_BEFORE = pytest.StashKey[set[str]]()
_TEMPORARY = pytest.StashKey[Path]()


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
    """What a run left: on an engine of its own everything new, on a shared one what has this run's name."""
    new = after - before
    if os.environ.get("STAGELENS_TEST_ENGINE") != "own":
        new = {thing for thing in new if RUN in thing}
    return sorted(new) + sorted(f"temporary {path.name}" for path in temporary.iterdir())


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note what is there, and give temporary files of this run and its programs a folder of their own."""
    if hasattr(session.config, "workerinput"):
        return
    # A shell that starts us in the background has us ignore Ctrl-C, and our programs would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
    programs = [line for _, line in children() if "multiprocessing.resource_tracker" not in line]
    return leftovers(before, _engine_listing(), temporary) + [f"process {line[:200]}" for line in programs]


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
def unique() -> str:
    """A prefix for names that no other test uses."""
    return f"{RUN}{secrets.token_hex(3)}"


@pytest.fixture(scope="module")
def unique_here() -> str:
    """A prefix for names that no other module of tests uses."""
    return f"{RUN}{secrets.token_hex(3)}"


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
                with suppress(NotFound):
                    api.remove_container(row["Id"], force=True, v=True)
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
                with suppress(NotFound):
                    api.remove_network(row["Id"])
        for row in api.volumes().get("Volumes") or []:
            if self._ours([row["Name"]], row.get("Labels")):
                with suppress(NotFound):
                    api.remove_volume(row["Name"], force=True)


@pytest.fixture
def clean(engine: Engine, unique: str) -> Iterator[Cleaner]:
    """Removes at the end every container, image, network and volume of this test."""
    cleaner = Cleaner(engine, unique)
    yield cleaner
    cleaner.now()
