"""Answers to multi-stage-go as people write them: right ones pass in any form, wrong ones fail checks."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stagelens.engine import Engine
from stagelens_course import grading

GO = grading.load_exercise("multi-stage-go")
EVERYTHING = frozenset(check.id for check in GO.checks)
# The checks that fail if the container ends.
RUNNING = frozenset({"answers", "other-user", "starts", "program-built"})
BUILDER = """
    FROM diamol/golang AS builder
    COPY main.go .
    RUN go build -o /server
    """
SETTINGS = """
    EXPOSE 80
    ENV USER=sixeyed
    CMD ["/web/server"]
    """
FINAL = f"""
    FROM diamol/base
    {SETTINGS}
    WORKDIR /web
    COPY --from=builder /server .
    COPY index.html .
    """
TEST = """
    package main
    import "testing"
    func TestGreeting(t *testing.T) { if greeting == "" { t.Fatal("no greeting") } }
    """
# A page from a shell script, which needs no compiler.
FAKE = """
    #!/bin/sh
    while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nGood day, %s\\n' "$USER" | nc -l -p 80; done
    """


@dataclass(frozen=True)
class Answer:
    """A Dockerfile, the checks that it must fail, and the submission's other files."""

    dockerfile: str
    fails: frozenset[str] = frozenset()
    files: dict[str, str] = field(default_factory=dict)


RIGHT = {
    "the chapter's own": Answer(BUILDER + FINAL + "RUN chmod +x server"),
    "other names, folders and order": Answer("""
        FROM diamol/golang AS Compile-It
        WORKDIR /src/app
        COPY ./main.go /src/app/
        RUN go build -o out/the-program main.go
        FROM diamol/base AS run
        WORKDIR /srv/page
        COPY index.html ./
        COPY --from=compile-it /src/app/out/the-program /usr/local/bin/
        ENV USER sixeyed
        EXPOSE 80/tcp
        ENTRYPOINT ["the-program"]
        """),
    "from scratch": Answer("""
        FROM diamol/golang
        COPY main.go .
        RUN go build -ldflags="-s -w" -o /server
        FROM scratch
        COPY --from=0 /server /server
        WORKDIR /page
        COPY index.html /page/
        ENV USER=sixeyed
        EXPOSE 80
        CMD ["/server"]
        """),
    "everything by ARG": Answer("""
        ARG TOOLS=diamol/golang
        ARG SMALL=diamol/base
        FROM ${TOOLS} AS builder
        ARG NAME=server
        COPY main.go .
        RUN go build -o /out/$NAME
        FROM ${SMALL}
        ARG NAME=server
        ARG WHO=sixeyed
        ENV USER=$WHO PORT=80
        WORKDIR /web
        COPY --from=builder /out/$NAME run
        COPY index.html .
        EXPOSE $PORT
        CMD ["./run"]
        """),
    "a test stage, Docker's own frontend": Answer(
        """
        # syntax=docker/dockerfile:1
        FROM diamol/golang AS source
        COPY main.go main_test.go ./
        FROM source AS test
        RUN go test main.go main_test.go && touch /tested
        FROM source AS builder
        COPY --from=test /tested /tested
        RUN go build -o /server main.go
        """
        + FINAL,
        files={"main_test.go": TEST},
    ),
    "mounts instead of copies, a shell that starts it": Answer("""
        FROM diamol/golang AS builder
        RUN --mount=type=bind,source=main.go,target=main.go \\
            --mount=type=cache,target=/tmp/cache \\
            go build -o /server main.go && cp /server /tmp/cache/
        FROM diamol/base
        WORKDIR /web
        COPY --from=builder /server ./
        COPY index.html .
        ENV USER=sixeyed
        EXPOSE 80
        CMD ./server
        """),
    "a stage below another, a plain user": Answer("""
        FROM diamol/base AS runtime
        ENV USER=sixeyed
        WORKDIR /app
        EXPOSE 80
        FROM diamol/golang AS builder
        COPY main.go .
        RUN go build -o /server
        FROM runtime
        COPY --from=builder --chown=1000:1000 /server /app/server
        COPY --chown=1000:1000 index.html /app/index.html
        USER 1000:1000
        CMD ["/app/server"]
        """),
    "a .dockerignore, and a program that somebody changed": Answer(
        """
        FROM diamol/golang AS builder
        COPY *.go .
        RUN go build -o /server
        FROM scratch AS files
        COPY --from=builder /server /web/server
        COPY index.html /web/
        FROM diamol/base
        COPY --from=files / /
        WORKDIR /web
        RUN chmod +x server
        """
        + SETTINGS,
        files={".dockerignore": "*\n!main.go\n!index.html\n", "main.go": "package main\nfunc main() {}\n"},
    ),
}

WRONG = {
    "the project as it was given": Answer(
        (GO.folder / "Dockerfile").read_text(),
        frozenset({"final-base", "no-toolchain", "size", "page-cached"}),
    ),
    "the tools removed in a later layer": Answer(
        """
        FROM diamol/golang
        WORKDIR /web
        COPY main.go .
        RUN go build -o server && rm main.go
        RUN rm -rf /usr/bin/go* /usr/lib/go* /usr/share/go*
        COPY index.html .
        """
        + SETTINGS,
        frozenset({"final-base", "size"}),
    ),
    "everything copied before the compiler runs": Answer(
        """
        FROM diamol/golang AS builder
        COPY . .
        RUN go build -o /server main.go
        """
        + FINAL,
        frozenset({"page-cached"}),
    ),
    "the source copied along": Answer(
        BUILDER + FINAL + "COPY --from=builder /go /go", frozenset({"no-toolchain"})
    ),
    "the user written into the command": Answer(
        BUILDER + FINAL.replace("ENV USER=sixeyed", "").replace('["/web/server"]', "USER=sixeyed ./server"),
        frozenset({"user", "other-user"}),
    ),
    "settings left in the first stage": Answer(
        BUILDER + SETTINGS + FINAL.replace(SETTINGS.strip(), ""),
        RUNNING | {"port", "user"},
    ),
    "the page forgotten": Answer(BUILDER + FINAL.replace("COPY index.html .", ""), RUNNING | {"folder"}),
    "a program that needs libraries": Answer(
        BUILDER.replace("go build", "CGO_ENABLED=1 go build") + FINAL, RUNNING
    ),
    "a script that only looks like the program": Answer(
        "FROM diamol/base\n" + SETTINGS + "WORKDIR /web\nCOPY server index.html ./\nRUN chmod +x server",
        frozenset({"program-built", "page-cached"}),
        files={"server": textwrap.dedent(FAKE).strip()},
    ),
    "a build that fails": Answer(BUILDER.replace("go build", "go biuld") + FINAL, EVERYTHING),
    "an invalid Dockerfile": Answer("RUN go build", EVERYTHING),
    "an image from elsewhere": Answer("FROM somebody/server\n", EVERYTHING),
}


@pytest.mark.engine
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_earns_every_point(engine: Engine, tmp_path: Path, name: str) -> None:
    report = grade(engine, tmp_path, RIGHT[name])
    assert {check.id: check.seen for check in report.checks if not check.passed} == {}
    assert report.earned == GO.points


@pytest.mark.engine
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_fails_the_checks_of_its_mistake(engine: Engine, tmp_path: Path, name: str) -> None:
    report = grade(engine, tmp_path, WRONG[name])
    assert {check.id for check in report.checks if not check.passed} == WRONG[name].fails
    for check in report.checks:
        assert check.earned == (check.points if check.passed else 0)
        assert check.expected
        assert check.seen
        assert "/tmp" not in check.seen, "paths of the grader's folders are removed"


def grade(engine: Engine, folder: Path, answer: Answer) -> grading.GradeReport:
    files = {"Dockerfile": answer.dockerfile, **answer.files}
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text).lstrip())
    report = grading.grade_folder(GO, folder, engine=engine)
    assert report.error is None
    return report
