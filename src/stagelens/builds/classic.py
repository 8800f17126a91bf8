"""Builds with the classic builder or Podman, as vertices; these builders report less than BuildKit."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import docker
from docker.errors import APIError

from stagelens.buildkit import BuildCancelled, BuildError, BuildRequest, Cancel, dockerpy
from stagelens.builds.logs import plain_line, styled
from stagelens.builds.trace import LogLine, Vertex
from stagelens.dockerfile import Dockerfile

LIMITATIONS = (
    "the classic builder runs one step after the other: there is no graph and no parallel run",
    "it has no RUN --mount, no here-documents, no COPY --link and no # syntax=",
    "it builds stages that the target does not need",
)
PODMAN_LIMITATIONS = (
    "Podman's builder runs one step after the other: there is no graph and no parallel run",
    "stages cannot be looked into, and there are no secrets, no ssh and no results other than images",
    "it builds stages that the target does not need",
)
# The start of a step (moby/moby, builder/dockerfile: printCommand).
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*[^\n])\n?", re.DOTALL)
_RUNNING = re.compile(r" ---> Running in ([0-9a-f]{12})\n")
# The end of a step's container; since Engine 23 this comes after the step.
_REMOVED = ("Removing intermediate container", " ---> Removed intermediate container")
# Podman counts the steps of each stage, and adds the stage if there are several (buildah, imagebuildah).
_PODMAN_STEP = re.compile(r"^(?:\[(\d+)/\d+\] )?STEP (\d+)/\d+: (.*)$")
_PODMAN_CACHED = re.compile(r"^--> Using cache [0-9a-f]{64}$")
_PODMAN_NOISE = re.compile(r"^(?:--> [0-9a-f]{11,64}|[0-9a-f]{64}|COMMIT\b.*)$")
_NOISE = (" ---> ", "Removing intermediate container", "Successfully tagged")
# The marks of a step's standard error (moby/moby, pkg/streamformatter).
_STDERR, _STDERR_END = "\x1b[91m", "\x1b[0m"
_BUILT = re.compile(r"Successfully built ([0-9a-f]+)")


class ClassicBuild:
    """A classic build; `vertices` grows during the build."""

    def __init__(
        self, dockerfile: Dockerfile, on_vertex: Callable[[Vertex, tuple[LogLine, ...]], None]
    ) -> None:
        self._locations = [None for _ in dockerfile.global_args] + [
            (stage.index, i.index) for stage in dockerfile.stages for i in stage.instructions
        ]
        self._dockerfile = dockerfile
        self._on_vertex = on_vertex
        self._current: Vertex | None = None
        # The current step, the number of steps, and the step's container.
        self._step = self._total = 0
        self._container: str | None = None
        self.vertices: list[Vertex] = []
        self.image_id: str | None = None

    def run(
        self, api: docker.APIClient, request: BuildRequest, body: Iterator[bytes], cancel: Cancel | None
    ) -> str | None:
        """Build the context, and return the image's id.

        Parameters
        ----------
        api
            The client of docker-py whose engine to use.
        request
            What to build.
        body
            The context as a tar.
        cancel
            Stops the build.

        Raises
        ------
        BuildError
            If the build fails.
        BuildCancelled
            If `cancel` was called.
        """
        query = request.query()
        del query["version"]
        response = api.post(
            dockerpy.api_url(api, "/build"),
            params=query,
            data=body,
            headers={"Content-Type": "application/x-tar"},
            stream=True,
            timeout=(20, None),
        )
        if cancel is not None:
            cancel.on_request(lambda: dockerpy.wake_reader(response))
        try:
            dockerpy.raise_for_status(api, response)
            with contextlib.closing(response):
                for line in response.iter_lines():
                    if line.strip():
                        self._take(json.loads(line))
        except APIError as error:
            raise BuildError(str(error.explanation or error)) from error
        except (*dockerpy.connection_errors(), ValueError, AttributeError, RuntimeError):
            if cancel is None or not cancel.requested:
                raise
        if cancel is not None and cancel.requested:
            raise BuildCancelled("The build was cancelled.")
        self._end()
        return self.image_id

    def _take(self, line: dict[str, Any]) -> None:
        if "error" in line:
            self._end(str(line["error"]))
            raise BuildError(str(line["error"]))
        aux = line.get("aux")
        if isinstance(aux, dict) and "ID" in aux:
            self.image_id = str(cast(dict[str, Any], aux)["ID"])
        text, stream = str(line.get("stream", "")), 1
        if text.startswith(_STDERR) and text.endswith(_STDERR_END):
            text, stream = text.removeprefix(_STDERR).removesuffix(_STDERR_END), 2
        if self._container is not None:
            # A step's output may look like the builder's messages, for example if it runs a build.
            if text in (f"{words} {self._container}\n" for words in _REMOVED):
                self._container = None
            else:
                self._log(text, stream)
        elif running := _RUNNING.fullmatch(text):
            self._container = running[1]
        elif (step := _STEP.fullmatch(text)) and self._is_next(int(step[1]), int(step[2])):
            self._step, self._total = int(step[1]), int(step[2])
            known = self._step <= len(self._locations)
            location = self._locations[self._step - 1] if known else None
            self._begin(f"step-{self._step}", step[3], location)
        else:
            for each in text.splitlines():
                self._text(each, stream)

    def _is_next(self, number: int, total: int) -> bool:
        return number == self._step + 1 and self._total in (0, total)

    def _text(self, text: str, stream: int) -> None:
        if step := _PODMAN_STEP.match(text):
            stage, number = int(step[1] or 1), int(step[2])
            self._begin(f"step-{stage}-{number}", step[3], self._podman_location(stage - 1, number - 1))
        elif built := _BUILT.match(text):
            self.image_id = self.image_id or built[1]
        elif self._current is not None and text:
            self._text_of_step(self._current, text, stream)

    def _podman_location(self, stage: int, instruction: int) -> tuple[int, int] | None:
        stages = self._dockerfile.stages
        known = stage < len(stages) and instruction < len(stages[stage].instructions)
        return (stage, instruction) if known else None

    def _begin(self, digest: str, name: str, location: tuple[int, int] | None) -> None:
        self._end()
        stage, instruction = location or (None, None)
        inputs = (self.vertices[-1].digest,) if self.vertices else ()
        self._current = Vertex(
            digest, plain_line(name), inputs, started=time.time(), stage=stage, instruction=instruction
        )
        self._on_vertex(self._current, ())

    def _text_of_step(self, current: Vertex, text: str, stream: int) -> None:
        if text.startswith(" ---> Using cache") or _PODMAN_CACHED.match(text):
            self._current = _changed(current, cached=True)
        elif not text.startswith(_NOISE) and not _PODMAN_NOISE.match(text):
            self._log(text, stream)

    def _log(self, text: str, stream: int) -> None:
        if self._current is None:
            return
        lines = tuple(LogLine(time.time(), stream, *styled(line)) for line in text.splitlines() if line)
        self._current = _changed(self._current, logs=(*self._current.logs, *lines))
        self._on_vertex(self._current, lines)

    def _end(self, error: str = "") -> None:
        if self._current is not None:
            done = _changed(self._current, completed=time.time(), error=plain_line(error))
            self.vertices.append(done)
            self._on_vertex(done, ())
        self._current = None


def _changed(vertex: Vertex, **fields: Any) -> Vertex:
    return replace(vertex, **fields)
