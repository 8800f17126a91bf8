"""What can be found out about one submission: its builds, its image, its files, its answers. Found once."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from docker.errors import APIError

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import BuildFailed, BuildTrace, Vertex, build
from stagelens.concurrency import defer_signals
from stagelens.dockerfile import DockerfileError
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot import FileTable
from stagelens.snapshot.inspection import list_image
from stagelens.snapshot.layers import unpacked_size
from stagelens.text import block
from stagelens_course.grading import container, policy, staging
from stagelens_course.grading.checks import RebuildCheck
from stagelens_course.grading.container import ContainerResponse
from stagelens_course.grading.model import Exercise
from stagelens_course.grading.policy import NotAllowed

# What is made for a submission has this label and, in Unix seconds, the time by which it is over in any case.
LABEL = "org.stagelens.grade"
UNTIL = "org.stagelens.grade.until"
REPOSITORY = "stagelens-grade"
FOLDER = "stagelens-grade-"


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """One build: its trace and image, or why there is none. `failed` is the instruction that failed."""

    trace: BuildTrace | None
    image: str | None = None
    problem: StagelensError | None = None

    @property
    def ran(self) -> tuple[Vertex, ...]:
        """The RUN steps that really ran, not from the cache."""
        vertices = self.trace.vertices if self.trace else ()
        return tuple(v for v in vertices if _is_run(self.trace, v) and v.started and not v.cached)


def _is_run(trace: BuildTrace | None, vertex: Vertex) -> bool:
    if trace is None or vertex.stage is None or vertex.instruction is None:
        return False
    return trace.dockerfile.stages[vertex.stage].instructions[vertex.instruction].keyword == "RUN"


class BuildTooSlow(StagelensError):
    """A submission's build took longer than it may."""


class SubmissionProbe:
    """One submission on an engine; a context manager that removes every image it made.

    Raises
    ------
    SubmissionRefused: on entering, where the folder cannot be taken. BuildCancelled: by any question,
    once `cancel` was called.
    """

    def __init__(
        self,
        exercise: Exercise,
        folder: Path,
        engine: Engine,
        cancel: Cancel | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.exercise = exercise
        self.engine = engine
        self.notes: tuple[str, ...] = ()
        # Nobody can guess it: neither another submission's FROM nor a page that is made up beforehand.
        self.token = "t" + secrets.token_hex(10)
        self._folder = folder
        self._cancel = cancel or Cancel()
        self._say = say
        self._lock = threading.Lock()
        self._outcomes: dict[str, BuildOutcome] = {}
        self._responses: dict[tuple[str, str], ContainerResponse] = {}
        self._stack = ExitStack()
        # Edits after which a build has to fail.
        checks = (check for check in exercise.checks if isinstance(check, RebuildCheck))
        self._breaking = {check.breaking_edit for check in checks}
        self._until = int(time.time() + 6 * exercise.limits.build + 600)
        self.labels = {LABEL: self.token, UNTIL: str(self._until)}

    def __enter__(self) -> SubmissionProbe:
        with ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{FOLDER}{self._until}-"))
            self._root = Path(name)
            self._stack = stack.pop_all()
        try:
            self.notes = staging.stage_submission(self.exercise, self._folder, self._root / "first")
            self._refused = self._look_at_dockerfile()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _look_at_dockerfile(self) -> StagelensError | None:
        path = self._root / "first/Dockerfile"
        try:
            policy.check(policy.readable(path), self.exercise.images)
            policy.check_ignored(path.parent)
        except (NotAllowed, DockerfileError) as error:
            return error
        path.write_text(policy.without_syntax(path.read_text(encoding="utf-8")), encoding="utf-8")
        return None

    @property
    def first(self) -> BuildOutcome:
        """The submission as it was handed in, built."""
        return self._built("first")

    def edited(self, name: str) -> BuildOutcome:
        """Return the submission built again after the exercise's edit of that name."""
        return self._built(name)

    @cached_property
    def image(self) -> Mapping[str, Any]:
        """What the engine says of the image; only where `first` has one."""
        return cast(Mapping[str, Any], self.engine.api.inspect_image(self.first.image))

    @cached_property
    def unpacked_size(self) -> int:
        """The bytes of the files in all layers of the image, which mean the same on every engine."""
        return unpacked_size(self.engine, self._tag("first"))

    @property
    def config(self) -> Mapping[str, Any]:
        """The image's config: Env, Cmd, ExposedPorts and so on."""
        return self.image.get("Config") or {}

    @cached_property
    def files(self) -> FileTable:
        """Every file of the image."""
        self._say("looking at the image's files")
        with self._deadline() as cancel:
            return list_image(self.engine, self._tag("first"), cancel)

    def explain(self, problem: StagelensError) -> str:
        """Return an error in words for the learner, without the folders that are the grader's own."""
        text = problem.render()
        for name in ("first", *self.exercise.edits):
            text = text.replace(f"{self._root / name}/", "")
        return block(text, 1500, lines=12)

    def request(
        self, build: str, environment: Mapping[str, str] | None = None, port: int = 80
    ) -> ContainerResponse:
        """Return what the image of a build says over HTTP, with these variables in its environment."""
        key = (build, repr(sorted((environment or {}).items())))
        if key not in self._responses:
            image = self._built(build).image
            if image is None:
                self._responses[key] = ContainerResponse(None, "there is no image to run")
            else:
                self._say("asking the container")
                self._responses[key] = container.request_page(
                    self.engine,
                    self._client,
                    image,
                    limits=self.exercise.limits,
                    labels=self.labels,
                    port=port,
                    environment=environment,
                    cancel=self._cancel,
                )
        return self._responses[key]

    @cached_property
    def _client(self) -> str:
        return self._stack.enter_context(container.client_container(self.engine, self.labels))

    def _built(self, name: str) -> BuildOutcome:
        if self._refused is not None:
            return BuildOutcome(None, problem=self._refused)
        if name not in self._outcomes:
            outcome = self._build(name)
            # A registry that did not answer is nobody's fault.
            if outcome.problem and self.exercise.network and name not in self._breaking:
                outcome = self._build(name)
            self._outcomes[name] = outcome
        return self._outcomes[name]

    def _build(self, name: str) -> BuildOutcome:
        folder = self._root / name
        if name != "first" and not folder.exists():
            staging.stage_edit(self._root / "first", folder, self.exercise.edits[name], self.token)
        doing = "building" if name == "first" else f"building again: {self.exercise.edits[name].file} changed"
        self._say(doing)

        def watch(vertex: Vertex, _: object) -> None:
            if vertex.instruction is not None and vertex.running:
                self._say(f"{doing} ({block(vertex.name, 100)})")

        # Before it is there: an interrupt may come between the image and the next line.
        self._stack.callback(_remove, self.engine, self._tag(name))
        try:
            with self._deadline() as cancel:
                trace = build(
                    folder,
                    tags=[self._tag(name)],
                    labels=self.labels,
                    # RUN --mount=type=cache would be shared by all submissions otherwise.
                    build_args={"BUILDKIT_CACHE_MOUNT_NS": self.token},
                    network=None if self.exercise.network else "none",
                    engine=self.engine,
                    on_vertex=watch,
                    cancel=cancel,
                )
        except BuildFailed as error:
            return BuildOutcome(error.trace, problem=error)
        except BuildTooSlow as error:
            return BuildOutcome(None, problem=error)
        assert trace.image_id is not None, "an image was asked for"
        return BuildOutcome(trace, trace.image_id)

    def _tag(self, name: str) -> str:
        return f"{REPOSITORY}/{self.token}:{name}"

    @contextmanager
    def _deadline(self) -> Generator[Cancel]:
        """Return a `Cancel` that the exercise's time limit and the caller's cancellation both trigger."""
        own, seconds = Cancel(), self.exercise.limits.build
        self._cancel.on_request(own)
        timer = threading.Timer(seconds, own)
        timer.daemon = True
        timer.start()
        try:
            yield own
        except BuildCancelled:
            if self._cancel.requested:
                raise
            raise BuildTooSlow(
                f"The build was stopped after {seconds:g} s.", why="that is all the time it may take"
            ) from None
        finally:
            timer.cancel()


def _remove(engine: Engine, image: str) -> None:
    with defer_signals(), suppress(APIError):
        engine.api.remove_image(image, force=True)
