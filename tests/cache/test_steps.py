"""What a Dockerfile's steps are to BuildKit's cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stagelens.cache import Base, Inputs, steps
from stagelens.dockerfile import parse


def inputs(text: str, **build_args: str) -> Inputs:
    base = Base("base", "layers", {"HOME": "/", "APP": "/app"})
    return Inputs(parse(text, build_args=build_args), {}, {"base": base}, build_args)


@pytest.mark.parametrize(
    ("place", "root"), [("/", True), ("$HOME", True), ("$APP", False), ("$X", True), ("$APP/..", True)]
)
def test_a_workdir_that_leads_to_the_root_is_no_step(place: str, root: bool) -> None:
    text = f"FROM base AS a\nARG X=/w\nWORKDIR {place}\nRUN x\nFROM a\nWORKDIR w\nCOPY --from=a /x .\n"
    found = steps.read_steps(inputs(text, X="/"))
    assert [step.line for step in found] == ([4, 6, 7] if root else [3, 4, 6, 7])
    assert found[-1].text.endswith("/w/" if root else "/app/w/")


def test_of_an_env_and_an_arg_of_one_name_the_last_one_counts() -> None:
    text = "FROM base\nENV A=env\nARG A=arg\nARG B=$A\nENV A=new C=$A\nCOPY $A-$B-$C /\nARG HOME=/h\nRUN x\n"
    copy, run = steps.read_steps(inputs(text))
    assert copy.text == "COPY new-arg-arg /"
    assert {name: v.value for name, v in copy.variables.items()} == {"A": "new", "B": "arg", "C": "arg"}
    assert list(run.variables) == ["APP", "B", "A", "C", "HOME"], "in the order in which they were last set"
    assert run.variables["HOME"].value == "/h"


def test_a_stage_that_begins_from_another_does_not_change_it() -> None:
    text = "FROM base AS a\nENV A=1\nFROM a AS b\nENV A=2\nRUN b\nFROM a\nRUN c\nCOPY --from=b /x /\n"
    found = steps.read_steps(inputs(text))
    assert [step.variables["A"].value for step in found if step.keyword == "RUN"] == ["2", "1"]


@pytest.mark.parametrize("keyword", ["ENV", "ARG"])
def test_each_variable_is_looked_at_a_few_times_however_many_there_are(
    keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 500
    seen = 0

    class Counted(steps.Variable):
        def __getattribute__(self, name: str) -> Any:
            nonlocal seen
            seen += name == "value"
            return super().__getattribute__(name)

    monkeypatch.setattr(steps, "Variable", Counted)
    lines = [f"{keyword} V{number}=${{V{number - 1}}}x" for number in range(1, count + 1)]
    (step,) = steps.read_steps(inputs("\n".join(["FROM base", *lines, f"WORKDIR /$V{count}"])))
    assert step.text == "/" + "x" * count
    assert seen < 5 * count


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        # BuildKit replaces variables in the body of a here-document, where quotes mean nothing.
        ("COPY <<E /x\n$A '$A' \\$A\nE", "COPY <<E /x\n1 '1' $A\n"),
        ("COPY <<'E' /x\n$A\nE", "COPY <<E /x\n$A\n"),
        ("COPY <<-E /x\n\t\tone\n\ttwo\n\tE", "COPY <<-E /x\none\ntwo\n"),
        ("COPY <<E /x\n${A\nE", "COPY <<E /x\n${A\n"),
        ("RUN <<-E\n\techo $A\n\tE", "RUN <<-E\necho $A\n"),
        ("COPY --link f .", "COPY --link= f /app/"),
        ("COPY f .././//x/", "COPY f /x/"),
        ("COPY f /", "COPY f /"),
        ("RUN --network=default --security=sandbox x", "RUN x"),
        ("RUN --network=none x", "RUN --network=none x"),
        ("RUN --mount=dst=/m,src=./d/,type=bind,from=y x", "RUN --mount=target=/m,source=d x"),
        (
            "RUN --mount=type=secret,id=a/b,target=/run/secrets/b x",
            "RUN --mount=target=/run/secrets/b,id=a/b,type=secret x",
        ),
    ],
)
def test_what_the_cache_knows_of_an_instruction(instruction: str, text: str) -> None:
    found = steps.read_steps(inputs(f"FROM base\nWORKDIR $APP\nARG A=1\n{instruction}\n"))
    assert found[-1].text == text


def test_the_default_shell_is_a_shell_like_another() -> None:
    text = 'FROM base\nRUN x\nSHELL ["/bin/sh",   "-c"]\nRUN x\nFROM base AS a\nFROM scratch\nRUN x\n'
    for target in ("stage-0", None):
        found = steps.read_steps(replace(inputs(text), target=target))
        assert {step.settings["SHELL"].value for step in found} == {'["/bin/sh", "-c"]'}
