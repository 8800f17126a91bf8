"""What a Dockerfile's steps are to BuildKit's cache."""

from __future__ import annotations

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
    assert found[-1].text.endswith("/w/." if root else "/app/w/.")


def test_env_wins_over_arg_wherever_either_stands() -> None:
    text = "FROM base\nENV A=env\nARG A=arg\nARG B=$A\nENV A=new C=$A\nCOPY $A-$B-$C /\n"
    (step,) = steps.read_steps(inputs(text, A="given"))
    assert step.text == "COPY new-env-env /"
    assert {name: v.value for name, v in step.variables.items()} == {"A": "new", "B": "env", "C": "env"}


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
