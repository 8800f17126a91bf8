"""Hold what stagelens says of a project against what BuildKit did."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import stagelens
from stagelens.buildkit import FileSend
from stagelens.builds import BuildFailed, BuildTrace, Vertex
from stagelens.cache import BuildInputs, BuildRecord, StepReport, explain, forecast, read_inputs, record
from stagelens.dockerfile import DockerfileError, Instruction, Stage
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot import Exploration, read_file
from stagelens.snapshot.points import Point, source_point, stage_points
from stagelens_testing.world.edits import Edit
from stagelens_testing.world.projects import Workspace

# Folders and files that the engine adds when a container runs.
_MOUNTPOINTS = re.compile(r"(dev|proc|sys|etc)(/.*)?|run|etc/(hosts|resolv\.conf)")
# No cause of a step that ran after an edit: the engine had the earlier result, and was asked for it.
_NO_REASON = {"dropped", "first", "engine", "unfinished"}
_MAX_READ = 60_000

# path -> kind, mode, uid, gid, then what the kind of file has: size, time, target or content's digest
FileFacts = Mapping[str, tuple[object, ...]]
Note = Callable[[str], object]


@dataclass
class Result:
    """What was compared, and each difference."""

    name: str
    steps: int = 0
    tied: int = 0
    points: int = 0
    equal: int = 0
    forecasts: int = 0
    right: int = 0
    unsure: int = 0
    verdicts: int = 0
    confirmed: int = 0
    builds: int = 0
    failed: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list[str])

    def add(self, other: Result) -> None:
        """Add the numbers and differences of another result."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems


_NUMBERS = (
    *("steps", "tied", "points", "equal", "forecasts", "right", "unsure", "verdicts", "confirmed"),
    *("builds", "failed", "seconds"),
)


class Checker:
    """Builds, explores and edits one workspace, and compares.

    Parameters
    ----------
    engine
        The engine that builds.
    workspace
        The project; it stays in the state of the last edit that builds.
    bases
        The files of base images by name: they are exported once for all projects.
    """

    def __init__(
        self, engine: Engine, workspace: Workspace, bases: dict[str, FileFacts] | None = None
    ) -> None:
        self._engine = engine
        self._workspace = workspace
        self._bases = bases if bases is not None else {}
        self._records: list[BuildRecord] = []
        self._exported: dict[Point, FileFacts] = {}
        self._unnoticed: set[str] = set()  # files whose edits BuildKit may notice in a later build
        self.result = Result(workspace.project.name)

    def build(self, note: Note = lambda _: None) -> None:
        """Build for the first time, and compare the steps with the vertices."""
        note("build")
        with self._timed():
            found = self._build(self._inputs())
            self._records = [found]
            self._compare_ties(explain(None, found), found.trace, "first build")

    def compare_points(self, note: Note = lambda _: None, contents: int = 1) -> None:
        """Compare the files after each instruction with a build that ends there.

        Parameters
        ----------
        note
            Called with what happens.
        contents
            How many files' contents to compare.
        """
        note("explore")
        with self._timed():
            self._compare_points(self._records[0].trace, note, contents)

    def compare_edits(self, edits: Iterable[Edit], note: Note = lambda _: None) -> None:
        """Edit, forecast, build again and explain; an edit that does not build is undone."""
        for edit in edits:
            done = edit.apply(self._workspace)
            if done is not None:
                note(f"edit: {done}")
                with self._timed():
                    self._compare_edit(edit, done)

    @contextmanager
    def _timed(self) -> Generator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.result.seconds += time.monotonic() - begun

    # -- building

    def _options(self) -> dict[str, object]:
        work = self._workspace
        return {
            "dockerfile": work.dockerfile,
            "target": work.target,
            "build_args": work.build_args,
            "platform": work.platform,
            "engine": self._engine,
        }

    def _inputs(self) -> BuildInputs:
        return read_inputs(self._workspace.folder, **self._options())

    def _build(self, inputs: BuildInputs) -> BuildRecord:
        self.result.builds += 1
        work = self._workspace
        sink = FileSend(io.BytesIO())  # leaves no image behind
        found = record(work.folder, secrets=work.secrets, output=sink, **self._options())
        assert found.inputs.dockerfile == inputs.dockerfile
        return found

    # -- steps and vertices

    def _compare_ties(self, reports: Sequence[StepReport], trace: BuildTrace, label: str) -> None:
        for report in reports:
            self.result.steps += 1
            instruction = trace.dockerfile.stages[report.stage].instructions[report.instruction]
            vertex = trace.vertex(*report.key)
            if vertex is None:
                self._problem(label, f"line {report.line}: no vertex for {report.title}")
            elif not _names(vertex, instruction):
                self._problem(label, f"line {report.line}: {report.title} is tied to {vertex.name}")
            elif report.outcome not in ("cached", "ran"):
                self._problem(label, f"line {report.line}: {report.outcome}: {report.title}")
            else:
                self.result.tied += 1
        triggers = [text for stage in trace.dockerfile.stages for text in _triggers(trace, stage.index)]
        for vertex in trace.vertices:
            text = _step_text(vertex)
            known = vertex.instructions or vertex.part_of or text.startswith(("FROM ", *triggers))
            if text and not known:
                self._problem(label, f"no instruction for the vertex {vertex.name!r}")

    # -- files at each point

    def _compare_points(self, trace: BuildTrace, note: Note, contents: int) -> None:
        work = self._workspace
        with tempfile.TemporaryDirectory() as cache:
            found = stagelens.explore(
                work.folder,
                trace,
                engine=self._engine,
                build_args=work.build_args,
                platform=work.platform,
                cache_folder=Path(cache),
            )
        lines = work.read_text().splitlines(keepends=True)
        for files in found.stages:
            kept = {point.instruction for point in stage_points(files.stage)}
            for instruction in files.stage.instructions:
                label = f"{files.stage.label}, line {instruction.start_line}"
                if instruction.index not in kept:
                    self.result.points += 1
                    before = files.tables[instruction.index - 1]
                    self._compare_files(label, _facts(before), _facts(files.tables[instruction.index]))
                    continue
                note(f"export {label}")
                expected = self._export(trace, files.stage, instruction, lines)
                self.result.points += 1
                self._compare_files(label, expected, _facts(files.tables[instruction.index]))
                contents -= self._compare_content(found, files.stage, instruction, expected, contents)

    def _export(
        self, trace: BuildTrace, stage: Stage, instruction: Instruction, lines: list[str]
    ) -> FileFacts:
        """Return the files of a build that ends after one instruction."""
        source = source_point(trace.dockerfile, Point(stage.index, instruction.index))
        if source is None:
            return {}
        begin = trace.dockerfile.stages[source.stage]
        base = begin.base if source.instruction == 0 and begin.base_stage is None else ""
        key = f"{base} {stage.platform or ''}"
        if base and key in self._bases:
            return self._bases[key]
        if stage.base_stage is not None and instruction.index == 0 and not _triggers(trace, stage.base_stage):
            return self._exported[source]
        work = self._workspace
        cut = work.folder.parent / "cut.Dockerfile"
        cut.write_bytes("".join(lines[: instruction.end_line]).encode())
        ignore = work.folder / ".dockerignore"
        if ignore.is_file():
            (cut.parent / "cut.Dockerfile.dockerignore").write_bytes(ignore.read_bytes())
        sink = io.BytesIO()
        self.result.builds += 1
        stagelens.build(
            work.folder,
            dockerfile=cut,
            build_args=work.build_args,
            secrets=work.secrets,
            platform=work.platform,
            engine=self._engine,
            output=FileSend(sink),
        )
        sink.seek(0)
        files = _read_tar(sink)
        self._exported[Point(stage.index, instruction.index)] = files
        if base:
            self._bases[key] = files
        return files

    def _compare_files(self, label: str, expected: FileFacts, found: FileFacts) -> None:
        missing = sorted(expected.keys() - found.keys())
        extra = sorted(p for p in found.keys() - expected.keys() if not _MOUNTPOINTS.fullmatch(p))
        wrong = sorted(p for p in expected.keys() & found.keys() if not _same(expected[p], found[p]))
        if not missing and not extra and not wrong:
            self.result.equal += 1
            return
        parts = [f"missing {missing[:3]}" * bool(missing), f"extra {extra[:3]}" * bool(extra)]
        parts += [f"{p}: {found[p]} is {expected[p]}" for p in wrong[:2]]
        self._problem(label, "; ".join(part for part in parts if part))

    def _compare_content(
        self, found: Exploration, stage: Stage, instruction: Instruction, expected: FileFacts, wanted: int
    ) -> int:
        """Compare the content of one file that the instruction made; return how many were compared."""
        if not wanted or instruction.index == 0:
            return 0
        changes = found.stage(stage.index).changes(instruction)
        new = [*changes.added, *(after for _, after in changes.changed)]
        entry = next((e for e in new if e.kind == "file" and 0 < e.size <= _MAX_READ), None)
        if entry is None or entry.path not in expected:
            return 0
        read = hashlib.sha256(read_file(found, stage.index, instruction.index, entry.path).data)
        if read.hexdigest() != expected[entry.path][-1]:
            self.result.equal -= 1
            self._problem(f"{stage.label}, line {instruction.start_line}", f"the content of {entry.path}")
        return 1

    # -- edits

    def _compare_edit(self, edit: Edit, done: str) -> None:
        label = f"{edit.kind} {edit.pick} ({done})"
        edited = self._workspace.edited()
        if edit.kind == "stale":
            self._unnoticed |= edited
        before = self._records[-1]
        try:
            inputs = self._inputs()
            expected = forecast(before, inputs)
            after = self._build(inputs)
        except (BuildFailed, DockerfileError, StagelensError):
            self.result.failed += 1  # an edit that does not build tells nothing of the cache
            self._workspace.undo()
            # The engine has the files of the failed build now: the next one sends those of before again.
            self._records.append(self._build(self._inputs()))
            return
        self._workspace.commit()
        reports = explain(before, after)
        self._compare_ties(reports, after.trace, label)
        self._compare_verdicts(reports, after.trace, edited | self._unnoticed, label)
        self._compare_forecast(expected, reports, inputs, label)
        self._records.append(after)

    def _compare_verdicts(
        self, reports: Sequence[StepReport], trace: BuildTrace, edited: set[str], label: str
    ) -> None:
        for report in reports:
            self.result.verdicts += 1
            instruction = trace.dockerfile.stages[report.stage].instructions[report.instruction]
            did = _observed(trace, trace.dockerfile.stages[report.stage], instruction)
            kinds = {cause.kind for cause in report.causes}
            if did and report.outcome not in did:
                wrong = f"is {' or '.join(sorted(did))}"
            elif report.outcome == "ran" and (not kinds or kinds & _NO_REASON):
                wrong = "has no reason"
            elif report.outcome == "cached" and kinds:
                wrong = "has a reason to run"
            elif not set(report.files) <= edited:
                wrong = f"names files that are not edited: {sorted(set(report.files) - edited)}"
            else:
                self.result.confirmed += 1
                continue
            self._problem(label, f"verdict {report.outcome} {wrong}: line {report.line} {report.title}")

    def _compare_forecast(
        self,
        expected: Sequence[StepReport],
        reports: Sequence[StepReport],
        inputs: BuildInputs,
        label: str,
    ) -> None:
        outcomes = {report.key: report.outcome for report in reports}
        for step in expected:
            self.result.forecasts += 1
            did = outcomes.get(step.key)
            if step.outcome == "depends":
                self.result.unsure += 1
            if _fits(step.outcome, did) or (step.outcome == "runs" and self._is_older(step, inputs)):
                self.result.right += 1
            else:
                self._problem(
                    label, f"forecast {step.outcome}, {did}: line {step.line} {step.title} ({step.why})"
                )

    def _is_older(self, step: StepReport, inputs: BuildInputs) -> bool:
        """Whether a build before the last one may have had this result: the engine has not lost it."""
        return any(
            each.key == step.key and each.outcome != "runs"
            for earlier in self._records[:-1]
            for each in forecast(earlier, inputs)
        )

    def _problem(self, label: str, text: str) -> None:
        self.result.problems.append(f"{self.result.name}: {label}: {text}")


def _fits(expected: str, did: str | None) -> bool:
    allowed = {"cached": ("cached",), "runs": ("ran",), "depends": ("cached", "ran")}
    return did in allowed.get(expected, ())


def _step_text(vertex: Vertex) -> str:
    """Return the instruction in a vertex's name, or "" for BuildKit's internal steps."""
    if vertex.name.startswith(("[internal]", "[auth]")) or not vertex.name.startswith("["):
        return ""
    _, separator, text = vertex.name.partition("] ")
    return text if separator else ""


def _triggers(trace: BuildTrace, stage: int) -> list[str]:
    """Return the start of each ONBUILD instruction of a stage, up to a variable."""
    instructions = trace.dockerfile.stages[stage].instructions
    return [i.arguments.split("$")[0].strip() for i in instructions if i.keyword == "ONBUILD"]


def _plain_words(instruction: Instruction) -> set[str]:
    """Return the words of an instruction that BuildKit repeats in a vertex's name as they are written."""
    if instruction.words is not None or instruction.heredocs:
        return set()
    return {word for word in instruction.arguments.upper().split() if not re.search(r"[$'\"\\`<{}]", word)}


def _names(vertex: Vertex, instruction: Instruction) -> bool:
    # Older BuildKits write the whole text in capitals where a tab follows the keyword.
    words = _step_text(vertex).upper().split()
    return words[:1] == [instruction.keyword] and _plain_words(instruction) <= set(words)


def _observed(trace: BuildTrace, stage: Stage, instruction: Instruction) -> set[str]:
    """Return what the vertices did that may be an instruction's, by their names alone."""
    found = [vertex for vertex in trace.vertices if _names(vertex, instruction)]
    labelled = [vertex for vertex in found if f"[{stage.label} " in vertex.name]
    return {_did(vertex) for vertex in labelled or found}


def _did(vertex: Vertex) -> str:
    if vertex.cached:
        return "cached"
    return "ran" if vertex.started is not None else "not reached"


def _same(exported: tuple[object, ...], listed: tuple[object, ...]) -> bool:
    """Compare all but the digest. An exported time is rounded to seconds, a listed one is cut."""
    *facts, time, _ = listed
    return exported[:-1] == listed[:-1] or (
        listed[0] == "file" and isinstance(time, int) and exported[:-1] == (*facts, time + 1)
    )


def _facts(table: Iterable[stagelens.Entry]) -> FileFacts:
    found: dict[str, tuple[object, ...]] = {}
    for entry in table:
        facts = (entry.kind, entry.mode, entry.uid, entry.gid)
        if entry.kind == "symlink":
            facts = (*facts, entry.link_target)
        elif entry.kind == "file":
            facts = (*facts, entry.size, entry.mtime)
        found[entry.path] = (*facts, "")
    return found


_TYPES = {
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}


def _read_tar(stream: io.BytesIO) -> FileFacts:
    found: dict[str, tuple[object, ...]] = {}
    links: list[tuple[str, str]] = []
    with tarfile.open(fileobj=stream, errors="surrogateescape") as archive:
        for member in archive:
            path = member.name.strip("/")
            facts = (_TYPES.get(member.type, "file"), member.mode, member.uid, member.gid)
            if not path:
                continue
            if member.islnk():
                links.append((path, member.linkname.strip("/")))
                continue
            digest = ""
            if member.issym():
                facts = (*facts, member.linkname)
            elif member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                digest = hashlib.sha256(content.read()).hexdigest()
                facts = (*facts, member.size, int(member.mtime))
            found[path] = (*facts, digest)
    # A hard link is one more name of a file.
    found |= {path: found[target] for path, target in links}
    return found
