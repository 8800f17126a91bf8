"""Where a file came from: followed back through COPY --from and FROM to the instruction that wrote it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from stagelens.dockerfile import Instruction, split_words
from stagelens.snapshot.entry import Entry
from stagelens.snapshot.probe import Exploration, StageFiles


@dataclass(frozen=True, slots=True)
class Step:
    """One place on a file's way: the instruction (of the stage) that wrote or copied `path` there."""

    stage: int
    instruction: int
    path: str


def history(exploration: Exploration, stage: str | int, path: str) -> tuple[Step, ...]:
    """The way of a file of a stage's final state, last step first.

    Empty where the file is not there. The way ends at an instruction that wrote the file, at a base image
    (a step at a FROM), at the build context, or at another image.
    """
    steps: list[Step] = []
    files = exploration.stage(stage)
    wanted: str | None = path.strip("/")
    limit = len(files.tables)
    while wanted is not None:
        index = _last_change(files, wanted, limit)
        if index is None:
            break
        steps.append(Step(files.stage.index, index, wanted))
        instruction = files.stage.instructions[index]
        if instruction.keyword == "RUN" and files.tables[index - 1].get(wanted) is not None:
            limit = index  # changed here, made earlier
            continue
        if index == 0 and files.stage.base_stage is not None:
            files = exploration.stage(files.stage.base_stage)
        elif instruction.keyword == "COPY" and (source := _stage_edge(exploration, files, instruction)):
            entry = files.tables[index].get(wanted)
            files = source
            wanted = _source_path(instruction, entry, source) if entry else None
        else:
            break
        limit = len(files.tables)
    return tuple(steps)


def _last_change(files: StageFiles, path: str, limit: int) -> int | None:
    entry = files.tables[limit - 1].get(path)
    if entry is None:
        return None
    for index in range(limit - 1, 0, -1):
        if files.tables[index] is not files.tables[index - 1] and files.tables[index - 1].get(path) != entry:
            return index
    return 0


def _stage_edge(exploration: Exploration, files: StageFiles, instruction: Instruction) -> StageFiles | None:
    for edge in exploration.trace.dockerfile.edges:
        if (edge.target, edge.instruction) == (files.stage.index, instruction.index):
            return exploration.stage(edge.source) if isinstance(edge.source, int) else None
    return None


def _source_path(instruction: Instruction, entry: Entry, source: StageFiles) -> str | None:
    """The path in `source` that became `entry`: by the COPY's own words, checked against what is there.

    COPY keeps size and time, so among candidates with the right name the equal one is it.
    """
    words = [*(instruction.words or split_words(instruction.arguments))]
    *sources, destination = words
    relative = posixpath.relpath("/" + entry.path, posixpath.join("/", destination))
    for word in sources:
        base = word.strip("/").removeprefix("./")
        candidates = [base, posixpath.join(base, relative)]
        if posixpath.basename(base) == relative.split("/", 1)[0]:
            candidates.append(posixpath.join(posixpath.dirname(base), relative))
        for candidate in candidates:
            found = source.final.get(posixpath.normpath(candidate).lstrip("/"))
            if found is not None and _same_file(found, entry):
                return found.path
    matches = [e for e in source.final if e.name == entry.name and _same_file(e, entry)]
    return matches[0].path if len(matches) == 1 else None


def _same_file(a: Entry, b: Entry) -> bool:
    return (a.kind, a.size, a.mtime, a.link_target) == (b.kind, b.size, b.mtime, b.link_target)
