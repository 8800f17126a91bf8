"""Edit a real project at random on a real engine: reports agree with the trace and name the edits."""

from __future__ import annotations

import os
import random
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import stagelens
from stagelens.buildkit import LocalFolder
from stagelens.cache import BuildRecord, StepReport, forecast, read_inputs
from stagelens.engine import Engine

pytestmark = pytest.mark.engine

DOCKERFILE = """\
FROM diamol/base AS builder
ARG VERSION=0
WORKDIR /src
COPY list .
RUN cat list > /fetched && echo {unique}
ENV MODE=plain
COPY . .
COPY link /linked
RUN cat main/*.c > /app; wc -c < notes > /length; echo $VERSION > /version

FROM diamol/base AS docs
COPY doc*/*.md /docs/
RUN cat /docs/*.md > /all

FROM diamol/base
WORKDIR /app
COPY --from=builder /length .
RUN --mount=type=bind,source=run,target=/run/it cat /run/it > ran
COPY --from=builder /app /fetched ./
COPY --from=docs /all /docs
RUN ls -l > listing
"""
FILES = ("list", "notes", "main/a.c", "main/b.c", "doc1/x.md", "doc2/y.md", "run", "target", "unrelated")


class Project:
    """A project whose edits always produce content that no engine has cached."""

    def __init__(self, folder: Path, unique: str) -> None:
        self.folder = folder
        self.arguments: dict[str, str | None] = {}
        self.write("Dockerfile", DOCKERFILE.format(unique=unique))
        self.write(".dockerignore", "unrelated\nDockerfile\n.dockerignore\n")
        for name in FILES:
            self.write(name, self.fresh())
        (folder / "link").symlink_to("target")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    @staticmethod
    def fresh() -> str:
        return secrets.token_hex(8)

    def edit(self, chance: random.Random) -> set[str]:
        """Edit one or two files with content of equal length; return the names of those that a step uses."""
        names = chance.sample(FILES, chance.choice([1, 1, 2]))
        for name in names:
            self.write(name, self.fresh())
        return set(names) - {"unrelated"}

    def lengthen(self, chance: random.Random) -> set[str]:
        self.write("notes", self.fresh() * chance.randint(2, 9))
        return {"notes"}

    def add(self, chance: random.Random) -> set[str]:
        name = f"doc1/{self.fresh()}.md"
        self.write(name, self.fresh())
        return {name}

    def chmod(self, chance: random.Random) -> set[str]:
        # With new content: the engine may have cached these permissions on the old content.
        self.write("main/a.c", self.fresh())
        (self.folder / "main/a.c").chmod(chance.choice([0o600, 0o755]))
        return {"main/a.c"}

    def touch(self, chance: random.Random) -> set[str]:
        (self.folder / chance.choice(FILES)).touch()
        return set()

    def argue(self, chance: random.Random) -> set[str]:
        self.arguments = {"VERSION": self.fresh()}
        return set()

    def rewrite(self, chance: random.Random) -> set[str]:
        path = self.folder / "Dockerfile"
        old, new = chance.choice(
            [
                ("ENV MODE=", f"ENV MODE={self.fresh()} OLD="),
                ("RUN cat list", f"RUN : {self.fresh()}; cat list"),
                ("COPY link", f"RUN : {self.fresh()}\nCOPY link"),
                ("RUN ls", f"USER {chance.randint(1, 60_000)}:0\nUSER 0\nRUN : {self.fresh()}; ls"),
            ]
        )
        path.write_text(path.read_text().replace(old, new))
        return set()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_edits_are_explained(
    engine: Engine, tmp_path: Path, unique: str, clean: object, seed: int
) -> None:
    chance = random.Random(seed)
    project = Project(tmp_path, unique + str(seed))
    edits: list[Callable[[random.Random], set[str]]] = [
        *[project.edit] * 4,
        *(project.lengthen, project.add, project.chmod, project.touch, project.argue, project.rewrite),
    ]
    before: BuildRecord | None = None
    for number in range(12):
        edit = chance.choice(edits)
        edited = edit(chance) if number else set()
        now = read_inputs(tmp_path, engine=engine, build_args=project.arguments)
        expected = forecast(before, now)
        after = stagelens.record(tmp_path, engine=engine, build_args=project.arguments, tags=[f"{unique}:x"])
        reports = stagelens.explain(before, after)
        label = f"seed {seed}, build {number}, {edit.__name__} {sorted(edited)}:\n" + "\n".join(
            map(str, reports)
        )
        _agrees_with_the_trace(after, reports, label)
        if before is not None:
            _explains(reports, edited, label)
            for step, report in zip(expected, reports, strict=True):
                allowed = {"cached": {"cached"}, "runs": {"ran"}, "depends": {"cached", "ran"}}
                assert report.outcome in allowed[step.outcome], f"{label}\nforecast {step}"
        before = after


def _agrees_with_the_trace(record: BuildRecord, reports: tuple[StepReport, ...], label: str) -> None:
    for report in reports:
        vertex = record.trace.vertex(*report.key)
        assert vertex is not None, label
        assert report.outcome == ("cached" if vertex.cached else "ran"), label
        assert bool(report.causes) == (report.outcome == "ran"), label


def _explains(reports: tuple[StepReport, ...], edited: set[str], label: str) -> None:
    causes = [cause for report in reports for cause in report.causes]
    assert not {"dropped", "first", "unfinished"} & {cause.kind for cause in causes}, label
    assert {change.path for cause in causes for change in cause.changes} == edited, label
    first = next((report for report in reports if report.outcome == "ran"), None)
    if first is None:
        return
    assert first.root == first.key, label
    assert set(first.files) <= edited, label
    assert bool(first.files) == bool(edited), label


def test_rerun_stage_with_the_same_result_leaves_the_copy_cached(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    project = Project(tmp_path, unique)
    first = stagelens.record(tmp_path, engine=engine, target="builder", tags=[f"{unique}:x"])
    whole = stagelens.record(tmp_path, engine=engine, tags=[f"{unique}:x"])
    assert {v.outcome for v in stagelens.explain(first, whole) if v.label == "builder"} == {"cached"}
    project.write("notes", project.fresh())
    after = stagelens.record(tmp_path, engine=engine, tags=[f"{unique}:x"])
    copies = [v for v in stagelens.explain(whole, after) if "--from=builder" in v.title]
    assert [report.outcome for report in copies] == ["cached", "cached"]
    assert "ran again and produced the same files" in copies[0].why


def test_base_image_replaced_during_the_build_counts_as_before(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    ids: list[str] = []
    for content in ("one", "two"):
        (tmp_path / "Dockerfile").write_text(f"FROM diamol/base\nENV CONTENT={content}\nUSER {len(ids)}\n")
        stagelens.build(tmp_path, engine=engine, tags=[f"{unique}-{content}"])
        ids.append(engine.api.inspect_image(f"{unique}-{content}")["Id"])
    engine.api.tag(ids[0], f"{unique}-base")
    (tmp_path / "Dockerfile").write_text(f"FROM {unique}-base\nRUN true {unique}\n")

    def replace(*_: object) -> None:
        engine.api.tag(ids[1], f"{unique}-base")

    record = stagelens.record(tmp_path, engine=engine, tags=[f"{unique}:x"], on_vertex=replace)
    assert engine.api.inspect_image(f"{unique}-base")["Id"] == ids[1]
    assert record.inputs.images[f"{unique}-base"].environment["CONTENT"] == "one"


def test_new_base_image_of_the_same_name_is_a_cause(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    base, project = tmp_path / "base", tmp_path / "project"
    records: list[BuildRecord] = []
    for content in ("one", "two"):
        base.mkdir(exist_ok=True)
        (base / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique} {content} > /base\n")
        stagelens.build(base, engine=engine, tags=[f"{unique}-base"])
        project.mkdir(exist_ok=True)
        (project / "Dockerfile").write_text(f"FROM {unique}-base\nRUN cat /base\nRUN true\n")
        records.append(stagelens.record(project, engine=engine, tags=[f"{unique}:x"]))
    first, second = stagelens.explain(*records)
    assert [cause.kind for cause in first.causes] == ["base"]
    assert f"{unique}-base" in first.why
    assert second.root == first.key


def test_unnoticed_changes_are_reported_with_a_remedy_that_works(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    def build(no_cache: bool = False) -> tuple[BuildRecord, list[str]]:
        record = stagelens.record(tmp_path, engine=engine, no_cache=no_cache, output=LocalFolder(out))
        mode = stat.S_IMODE((out / "d").stat().st_mode)
        return record, [(out / "f").read_text(), f"{mode:o}"]

    out = tmp_path / "../out"
    (tmp_path / "d").mkdir(mode=0o755)
    (tmp_path / "f").write_text(f"{unique} one")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY f /\nCOPY . /\n")
    before, _ = build()
    times = (tmp_path / "f").stat()
    (tmp_path / "f").write_text(f"{unique} two")
    (tmp_path / "d").chmod(0o700)
    os.utime(tmp_path / "f", ns=(times.st_atime_ns, times.st_mtime_ns))
    expected = forecast(before, read_inputs(tmp_path, engine=engine))
    after, result = build()
    reports = stagelens.explain(before, after)
    for steps in (expected, reports):
        assert [step.outcome for step in steps] == ["cached", "cached"]
        assert "touch f" in steps[0].why
        assert [change.path for change in steps[1].unnoticed] == ["d", "f"]
    assert result == [f"{unique} one", "755"]

    os.utime(tmp_path / "f")
    after, result = build(no_cache=True)
    assert result == [f"{unique} two", "700"]
    assert [step.outcome for step in stagelens.explain(before, after)] == ["ran", "ran"]
    _, result = build()
    assert result == [f"{unique} two", "700"]
