"""Examination of one submission: its builds, image, files and HTTP responses, each made once."""

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

# Labels of everything that is made for a submission: the submission's token, and the Unix time by which its
# grading has ended in any case.
LABEL = "org.stagelens.grade"
EXPIRY_LABEL = "org.stagelens.grade.until"
REPOSITORY = "stagelens-grade"
FOLDER_PREFIX = "stagelens-grade-"


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """The outcome of one build.

    Attributes
    ----------
    trace
        The trace; None if the build did not start or was stopped.
    image
        The ID of the image; None if there is none.
    problem
        Why there is no image.
    """

    trace: BuildTrace | None
    image: str | None = None
    problem: StagelensError | None = None

    @property
    def ran(self) -> tuple[Vertex, ...]:
        """The RUN steps that ran and were not cached."""
        vertices = self.trace.vertices if self.trace else ()
        return tuple(v for v in vertices if _is_run(self.trace, v) and v.started and not v.cached)


def _is_run(trace: BuildTrace | None, vertex: Vertex) -> bool:
    if trace is None:
        return False
    stages = trace.dockerfile.stages
    return any(stages[stage].instructions[index].keyword == "RUN" for stage, index in vertex.instructions)


class BuildTooSlow(StagelensError):
    """A build of a submission that exceeded its time limit."""


class SubmissionProbe:
    """A submission on an engine; a context manager that removes every image and container that it made.

    On entering, it raises `SubmissionRefused` if the folder cannot be graded. Once `cancel` was called,
    everything that needs the engine raises `BuildCancelled`.

    Parameters
    ----------
    exercise
        The exercise.
    folder
        The folder with the submission; it is copied.
    engine
        The engine that builds and runs the submission.
    cancel
        Stops the work when it is called.
    report
        Called with a line that says what is being done.
    """

    def __init__(
        self,
        exercise: Exercise,
        folder: Path,
        engine: Engine,
        cancel: Cancel | None = None,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.exercise = exercise
        self.engine = engine
        self.notes: tuple[str, ...] = ()
        # Unpredictable: no FROM can name another submission's image, and no page can contain it in advance.
        self.token = "t" + secrets.token_hex(10)
        self._folder = folder
        self._cancel = cancel or Cancel()
        self._report = report
        self._lock = threading.Lock()
        self._outcomes: dict[str, BuildOutcome] = {}
        self._responses: dict[tuple[str, int, str], ContainerResponse] = {}
        self._stack = ExitStack()
        # Edits that must make the build fail.
        checks = (check for check in exercise.checks if isinstance(check, RebuildCheck))
        self._breaking = {check.breaking_edit for check in checks}
        self._expiry = int(time.time() + 6 * exercise.limits.build + 600)
        self.labels = {LABEL: self.token, EXPIRY_LABEL: str(self._expiry)}

    def __enter__(self) -> SubmissionProbe:
        with ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{FOLDER_PREFIX}{self._expiry}-"))
            self._root = Path(name)
            self._stack = stack.pop_all()
        try:
            self.notes = staging.stage_submission(self.exercise, self._folder, self._root / "first")
            self._policy_error = self._apply_policy()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _apply_policy(self) -> StagelensError | None:
        path = self._root / "first/Dockerfile"
        try:
            policy.check_dockerfile(policy.load_dockerfile(path), self.exercise.images)
            policy.check_ignore_files(path.parent)
        except (NotAllowed, DockerfileError) as error:
            return error
        path.write_text(policy.disable_syntax_line(path.read_text(encoding="utf-8")), encoding="utf-8")
        return None

    @property
    def first(self) -> BuildOutcome:
        """The build of the submission without an edit."""
        return self._outcome("first")

    def edited(self, name: str) -> BuildOutcome:
        """Return the build of the submission after one of the exercise's edits."""
        return self._outcome(name)

    @cached_property
    def image(self) -> Mapping[str, Any]:
        """The engine's description of the image; only if `first` has an image."""
        return cast(Mapping[str, Any], self.engine.api.inspect_image(self.first.image))

    @cached_property
    def unpacked_size(self) -> int:
        """The bytes of the files in all layers of the image, which mean the same on every engine."""
        return unpacked_size(self.engine, self._tag("first"))

    @property
    def config(self) -> Mapping[str, Any]:
        """The image's config: Env, Cmd, ExposedPorts and others."""
        return self.image.get("Config") or {}

    @cached_property
    def files(self) -> FileTable:
        """The files of the image."""
        self._report("listing the image's files")
        with self._deadline() as cancel:
            return list_image(self.engine, self._tag("first"), cancel)

    def explain(self, problem: StagelensError) -> str:
        """Return an error as text for the learner, without the paths of the grader's folders."""
        text = problem.render()
        for name in ("first", *self.exercise.edits):
            text = text.replace(f"{self._root / name}/", "")
        return block(text, 1500, lines=12)

    def request(
        self, build: str, environment: Mapping[str, str] | None = None, port: int = 80
    ) -> ContainerResponse:
        """Return the container's response to an HTTP request.

        Parameters
        ----------
        build
            The build whose image runs: "first" or the name of an edit.
        environment
            Further environment variables of the container.
        port
            The port to request.
        """
        key = (build, port, repr(sorted((environment or {}).items())))
        if key not in self._responses:
            image = self._outcome(build).image
            if image is None:
                self._responses[key] = ContainerResponse(None, "there is no image to run")
            else:
                self._report("requesting a page of the container")
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

    def _outcome(self, name: str) -> BuildOutcome:
        if self._policy_error is not None:
            return BuildOutcome(None, problem=self._policy_error)
        if name not in self._outcomes:
            outcome = self._build(name)
            # A registry of packages may have failed, which is not the submission's fault: try again.
            if outcome.problem and self.exercise.network and name not in self._breaking:
                outcome = self._build(name)
            self._outcomes[name] = outcome
        return self._outcomes[name]

    def _build(self, name: str) -> BuildOutcome:
        folder = self._root / name
        if name != "first" and not folder.exists():
            staging.stage_edit(self._root / "first", folder, self.exercise.edits[name], self.token)
        activity = (
            "building" if name == "first" else f"building again: {self.exercise.edits[name].file} changed"
        )
        self._report(activity)

        def watch(vertex: Vertex, _: object) -> None:
            if vertex.instruction is not None and vertex.running:
                self._report(f"{activity} ({block(vertex.name, 100)})")

        # Before the build: an interrupt may come between its end and the next line.
        self._stack.callback(_remove, self.engine, self._tag(name))
        try:
            with self._deadline() as cancel:
                trace = build(
                    folder,
                    tags=[self._tag(name)],
                    labels=self.labels,
                    # Otherwise all submissions would share the caches of RUN --mount=type=cache.
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
        assert trace.image_id is not None, "a build with tags makes an image"
        return BuildOutcome(trace, trace.image_id)

    def _tag(self, name: str) -> str:
        return f"{REPOSITORY}/{self.token}:{name}"

    @contextmanager
    def _deadline(self) -> Generator[Cancel]:
        """Yield a `Cancel` that the time limit of a build or the caller's cancel triggers."""
        stop, seconds = Cancel(), self.exercise.limits.build
        self._cancel.on_request(stop)
        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            yield stop
        except BuildCancelled:
            if self._cancel.requested:
                raise
            raise BuildTooSlow(
                f"The build was stopped after {seconds:g} s.",
                why="the exercise limits the time of each build",
            ) from None
        finally:
            timer.cancel()


def _remove(engine: Engine, image: str) -> None:
    with defer_signals(), suppress(APIError):
        engine.api.remove_image(image, force=True)
