"""Compare with a real engine, edit by edit, what counts for its cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from stagelens_testing.edits import Edit, both, built_twice, line

from stagelens.engine import Engine

pytestmark = pytest.mark.engine


def rewrite(name: str, change: Callable[[str], str] = str.swapcase) -> Edit:
    """Change a file's content, but neither its size nor its time."""

    def edit(folder: Path) -> None:
        path = folder / name
        times = path.stat()
        path.write_text(change(path.read_text()))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    return edit


# The instructions after the first step, an edit, the lines that run again, and the first line's causes.
EDITS: dict[str, tuple[str, Edit, list[int], list[str]]] = {
    "the USER that a WORKDIR's folder belongs to": (
        "USER 1\nWORKDIR /w\nCOPY f /\n",
        line("USER 1", "USER 2"),
        [4, 5],
        ["setting"],
    ),
    "a SHELL that an exec form does not use": (
        'SHELL ["sh", "-c"]\nRUN ["true"]\n',
        line('"-c"', '"-ec"'),
        [],
        [],
    ),
    "the layout of an exec form": ('RUN ["true", "x"]\n', line('["true", "x"]', '[ "true","x" ]'), [], []),
    "the layout of a SHELL": (
        'SHELL ["/bin/sh","-c"]\nRUN true UNIQUE\n',
        line('SHELL ["/bin/sh","-c"]\n', ""),
        [],
        [],
    ),
    "the writing of a destination": (
        "WORKDIR /w\nCOPY f .\nCOPY f ./x\nRUN true\n",
        both(line("f .\n", "f ./\n"), line("./x", "/w//x")),
        [],
        [],
    ),
    "the writing of mounts": (
        "RUN --mount=type=cache,target=/a,id=/a --mount=source=./f,target=/b "
        "--mount=type=secret,id=s,required=false true UNIQUE\n",
        line(
            "--mount=type=cache,target=/a,id=/a --mount=source=./f,target=/b",
            "--mount=type=bind,dst=/b,src=f --mount=target=/a,type=cache,sharing=shared",
        ),
        [],
        [],
    ),
    "a mount's own identity": (
        "RUN --mount=type=cache,target=/a true UNIQUE\n",
        line("/a", "/a,id=other"),
        [3],
        ["instruction"],
    ),
    "a link to a file that is the same": (
        "COPY f /x\nRUN true\n",
        lambda folder: ((folder / "f").rename(folder / "g"), (folder / "f").symlink_to("g")),
        [],
        [],
    ),
    "a folder behind a link": (
        "COPY d /x\nRUN true\n",
        lambda folder: ((folder / "d").rename(folder / "e"), (folder / "d").symlink_to("e")),
        [],
        [],
    ),
    "an ARG after an ENV of its name": (
        "ENV A=1\nARG A=2\nCOPY app-linux /$A\nRUN true\n",
        line("ARG A=2", "ARG A=3"),
        [5, 6],
        ["variable"],
    ),
    "an ARG before an ENV of its name": (
        "ARG A=2\nENV A=1\nCOPY app-linux /$A\nRUN true\n",
        line("ARG A=2", "ARG A=3"),
        [],
        [],
    ),
    "an ARG that becomes an ENV": ("ARG A=1\nRUN true UNIQUE\n", line("ARG", "ENV"), [], []),
    "the order of variables": (
        "ENV A=1\nENV B=2\nRUN true\n",
        line("A=1\nENV B=2", "B=2\nENV A=1"),
        [5],
        ["variables"],
    ),
    "a variable set again": ("ENV A=0\nENV B=2\nENV A=1\nRUN true\n", line("ENV A=0\n", ""), [], []),
    "an ARG of the stage below after an ENV of its name": (
        "FROM diamol/base AS b\nENV A=1\nARG A=2\nFROM b\nRUN true UNIQUE $A\n",
        line("ARG A=2", "ARG A=3"),
        [],
        [],
    ),
    "an ENV and an ARG of the stage below in another order": (
        "FROM diamol/base AS b\nENV A=1\nARG B=2\nFROM b\nRUN true UNIQUE\n",
        line("ENV A=1\nARG B=2", "ARG B=2\nENV A=1"),
        [],
        [],
    ),
    "a variable set again in the stage below": (
        "FROM diamol/base AS b\nENV A=0\nENV B=2\nENV A=1\nFROM b\nRUN true UNIQUE\n",
        line("ENV A=0\n", ""),
        [7],
        ["variables"],
    ),
    "a file that a platform's argument names": (
        "ARG TARGETOS\nCOPY app-$TARGETOS /\n",
        lambda folder: (folder / "app-linux").write_text(f"edited {folder}"),
        [4],
        ["files"],
    ),
    "another content of the same size and time": ("COPY f /\nRUN true\n", rewrite("f"), [], []),
    "another content of the same size and time, with a new time": (
        "COPY f /\nRUN true\n",
        both(rewrite("f"), lambda folder: os.utime(folder / "f")),
        [3, 4],
        ["files"],
    ),
    "a new time": ("COPY f /\n", lambda folder: os.utime(folder / "f", (1, 1)), [], []),
    "patterns to ignore of the same size and time": (
        "COPY . /all\n",
        rewrite(".dockerignore", str.lower),
        [3],
        ["files"],
    ),
    "the permissions of a folder with a new file": (
        "COPY . /all\n",
        both(lambda folder: (folder / "d").chmod(0o700), lambda folder: (folder / "d/g").write_text("new")),
        [3],
        ["files"],
    ),
    "a folder's permissions": ("COPY . /all\n", lambda folder: (folder / "d").chmod(0o700), [], []),
    "a stage's name": (
        "FROM diamol/base AS b\nRUN echo UNIQUE > /o\nFROM diamol/base\nCOPY --from=b /o /\n"
        "RUN --mount=type=bind,from=b,target=/m ls /m\n",
        both(line("AS b", "AS c"), line("from=b", "from=c")),
        [],
        [],
    ),
    "a stage's number": (
        "LABEL a=b\nFROM diamol/base\nRUN echo UNIQUE > /o\nFROM scratch\nCOPY --from=1 /o /\n",
        both(line("LABEL a=b", "FROM scratch\nCOPY f /"), line("from=1", "from=2")),
        [],
        [],
    ),
    "the number of another stage": (
        "FROM diamol/base AS one\nRUN echo UNIQUE > /o\nFROM diamol/base AS two\nRUN echo 2 UNIQUE > /o\n"
        "FROM scratch\nCOPY --from=1 /o /\nCOPY --from=two /o /\n",
        line("from=1", "from=2"),
        [8, 9],
        ["stage"],
    ),
    "root as a number": ("COPY --chown=root f /\nRUN true\n", line("=root", "=00"), [], []),
    "a group that is root": ("COPY --chown=0 f /\nRUN true\n", line("=0", "=0:0"), [3, 4], ["instruction"]),
    "an exec form that says what the shell form does": (
        "RUN true x\n",
        line("true x", '["/bin/sh","-c","true x"]'),
        [],
        [],
    ),
    "the writing of a folder to run in": ("WORKDIR /w\nRUN true\n", line("/w", "/w/."), [4], ["setting"]),
    "the writing of a folder below another": (
        "WORKDIR /w\nWORKDIR x\nRUN true\n",
        line("x\n", "./x/\n"),
        [],
        [],
    ),
    "the writing of a folder": ("WORKDIR /w\nCOPY f .\n", line("/w", "/w/./"), [], []),
    "a folder to run in that no step makes": (
        "WORKDIR /w\nWORKDIR /\nRUN pwd\n",
        line("WORKDIR /\n", ""),
        [4],
        ["setting"],
    ),
    "another source of a mount with the same content": (
        "RUN --mount=source=f,target=/m true\n",
        line("source=f", "source=d/f"),
        [],
        [],
    ),
    "a file of that name and content in another folder": (
        "COPY f /x\nCOPY . /all\n",
        line("COPY f", "COPY d/f"),
        [],
        [],
    ),
    "a file of another name with the same content": (
        "COPY d/f /x\nRUN true\n",
        both(lambda folder: (folder / "d/f").rename(folder / "d/g"), line("d/f", "d/g")),
        [3, 4],
        ["instruction"],
    ),
    "another file of that name": (
        "COPY f /x\nRUN true\n",
        both(lambda folder: (folder / "d/f").write_text("other"), line("COPY f", "COPY d/f")),
        [3, 4],
        ["instruction"],
    ),
    "a stage that is cut in two": (
        "FROM diamol/base AS a\nRUN echo UNIQUE 1\nRUN true\n",
        line("RUN true", "FROM a\nRUN true"),
        [],
        [],
    ),
    "two stages that change their names, and an edit": (
        "FROM diamol/base AS a\nRUN echo UNIQUE 1\nRUN echo 1 > /o\n"
        "FROM diamol/base AS b\nRUN echo UNIQUE 2\nCOPY --from=a /o /\nRUN true\n",
        both(line("AS b", "AS c"), line("AS a", "AS b"), line("=a", "=b"), line("1 >", "2 >")),
        [5, 8, 9],
        ["instruction"],
    ),
    "two stages that change their names, of which one begins from the other": (
        "FROM diamol/base AS a\nRUN true UNIQUE x\nRUN true v\nRUN true y\n"
        "FROM a AS b\nRUN true y\nRUN --mount=from=a,target=/m true z\n",
        both(
            line("AS b", "AS c"),
            line("AS a", "AS b"),
            line("FROM a", "FROM b"),
            line("=a", "=b"),
            line(" x", " w"),
        ),
        [4, 5, 6, 8, 9],
        ["instruction"],
    ),
    "the end of a stage that is copied": (
        "FROM scratch AS s\nCOPY f /1\nCOPY f /2\nFROM scratch\nCOPY --from=s / /\n",
        line("COPY f /2\n", ""),
        [6],
        ["stage"],
    ),
    "an ONBUILD of the stage that it begins from": (
        "FROM diamol/base AS kit\nONBUILD RUN echo UNIQUE\nFROM kit\nRUN true\n",
        line("ONBUILD RUN echo", "ONBUILD RUN echo more"),
        [6],
        ["triggers"],
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_counts_as_it_does_for_the_engine(
    engine: Engine, tmp_path: Path, unique: str, clean: object, name: str
) -> None:
    text, edit, ran, kinds = EDITS[name]
    # A unique first step: the engine has no results of the others from other tests.
    dockerfile = f"FROM diamol/base\nRUN echo UNIQUE\n{text}"
    expected, reports = built_twice(engine, tmp_path, unique, dockerfile, edit)
    label = "\n".join(map(str, reports))
    assert [report.line for report in reports if report.outcome == "ran"] == ran, label
    causes = next((report.causes for report in reports if report.outcome == "ran"), ())
    assert [cause.kind for cause in causes] == kinds, label
    assert [step.line for step in expected if step.outcome != "cached"] == ran, "\n".join(map(str, expected))
