"""Read Dockerfiles as the steps of BuildKit's cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stagelens.cache import BuildInputs, InputImage, steps
from stagelens.dockerfile import parse

SHELL = '["/bin/sh", "-c",'


def inputs(text: str, **build_args: str) -> BuildInputs:
    base = InputImage("base", "layers", {"HOME": "/", "APP": "/app"})
    return BuildInputs(parse(text, build_args=build_args), {}, {"base": base}, build_args)


@pytest.mark.parametrize(
    ("path", "root"), [("/", True), ("$HOME", True), ("$APP", False), ("$X", True), ("$APP/..", True)]
)
def test_workdir_that_resolves_to_the_root_is_not_a_step(path: str, root: bool) -> None:
    text = f"FROM base AS a\nARG X=/w\nWORKDIR {path}\nRUN x\nFROM a\nWORKDIR w\nCOPY --from=a /x .\n"
    found = steps.read_steps(inputs(text, X="/"))
    assert [step.line for step in found] == ([4, 6, 7] if root else [3, 4, 6, 7])
    assert found[-1].op.text.endswith("/w/" if root else "/app/w/")


def test_last_env_or_arg_of_a_name_wins() -> None:
    text = "FROM base\nENV A=env\nARG A=arg\nARG B=$A\nENV A=new C=$A\nCOPY $A-$B-$C /\nARG HOME=/h\nRUN x\n"
    copy, run = steps.read_steps(inputs(text))
    assert copy.op.text == "COPY new-arg-arg /"
    assert {name: v.value for name, v in copy.variables.items()} == {"A": "new", "B": "arg", "C": "arg"}
    assert list(run.variables) == ["APP", "PATH", "B", "A", "C", "HOME"], (
        "in the order of their last assignment"
    )
    assert run.variables["HOME"].value == "/h"


def test_derived_stage_does_not_change_its_base() -> None:
    text = "FROM base AS a\nENV A=1\nFROM a AS b\nENV A=2\nRUN b\nFROM a\nRUN c\nCOPY --from=b /x /\n"
    found = steps.read_steps(inputs(text))
    assert [step.variables["A"].value for step in found if step.keyword == "RUN"] == ["2", "1"]


@pytest.mark.parametrize("keyword", ["ENV", "ARG"])
def test_reading_variables_takes_linear_time(keyword: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert step.op.text == "WORKDIR /" + "x" * count
    assert seen < 5 * count


@pytest.mark.parametrize(
    ("instruction", "op"),
    [
        # BuildKit replaces variables in the body of a here-document, where quotes mean nothing.
        ("COPY <<E /x\n$A '$A' \\$A\nE", "COPY <<E /x\n1 '1' $A\n"),
        ("COPY <<'E' /x\n$A\nE", "COPY <<E /x\n$A\n"),
        ("COPY <<-E /x\n\t\tone\n\ttwo\n\tE", "COPY <<E /x\none\ntwo\n"),
        ("COPY <<E /x\n${A\nE", "COPY <<E /x\n${A\n"),
        ("ADD <<E /x\nE", "COPY <<E /x\n"),
        ("COPY --link f .", "COPY f /app/"),
        ("COPY --chown=root:01 --chmod=0644 f .", "COPY --chown=0:1 --chmod=644 f /app/"),
        ("COPY ./d/f d/*/ /.h .././//x/", "COPY f * .h /x/"),
        ("COPY --parents ./d//f d/./e/../f x", "COPY --parents ././d/f d/./f /app/x"),
        ("COPY --parents=false --exclude=$A --exclude=b . /", "COPY --exclude=1 --exclude=b . /"),
        # A download counts by its name and content, so its address is not in the op.
        ("ADD --keep-git-dir https://h.test/x.git#$A /x", "COPY --keep-git-dir / /x"),
        ("ADD --checksum=sha256:1 https://h.test/$A/x?y /x", "COPY x /x"),
        ("ADD http://h.test http://h.test/ /x/", "COPY __unnamed__ __unnamed__ /x/"),
        ("WORKDIR ./w/$A/", "WORKDIR /app/w/1"),
        ("USER root\nWORKDIR .h", "WORKDIR /app/.h as 0"),
        ("USER root\nRUN x", f'RUN {SHELL} "x"] in /app as root'),
        ('WORKDIR .h\nRUN [ "x" ]', 'RUN ["x"] in /app/.h'),
        ('RUN ["/bin/sh","-c","x"]', f'RUN {SHELL} "x"] in /app'),
        ("RUN <<-E\n\techo $A\n\tE", f'RUN {SHELL} "echo $A\\n"] in /app'),
        ("RUN <<E\n#!/bin/x\n$A\nE", f'RUN {SHELL} "/dev/pipes/E"] in /app\n#!/bin/x\n$A\n'),
        ("RUN cat <<-E\n\t$A\n\tE", f'RUN {SHELL} "cat <<-E\\n\\t$A\\nE"] in /app'),
        ("RUN --network=default --security=sandbox x", f'RUN {SHELL} "x"] in /app'),
        ("RUN --network=none x", f'RUN --network=none {SHELL} "x"] in /app'),
    ],
)
def test_op_text_of_an_instruction(instruction: str, op: str) -> None:
    found = steps.read_steps(inputs(f"FROM base\nWORKDIR $APP\nARG A=1\n{instruction}\n"))
    assert found[-1].op.text == op


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("dst=/m,src=./d/,type=bind,from=y", "target=/m,readonly"),
        ("target=m,ro", "target=/app/m,readonly"),
        ("target=/m/,rw", "target=/m/"),
        ("target=/m,readonly=false", "target=/m"),
        ("type=cache,target=/c/,id=/c,sharing=shared", "target=/c/,type=cache"),
        ("type=cache,target=/c,id=x,ro,mode=0755", "target=/c,id=x,mode=755,readonly,type=cache"),
        (
            "type=secret,id=a/b,target=/run/secrets/b,required=false",
            "target=/run/secrets/b,id=a/b,type=secret",
        ),
        ("type=secret,id=a/b,required", "target=/run/secrets/b,id=a/b,required,type=secret"),
        ("type=tmpfs,target=/t,size=1", "target=/t,size=1,type=tmpfs"),
        ("type=${T:-cache},target=/c$W,id=${I:-x},mode=0$M", "target=/c/app,id=x,mode=,type=cache"),
        ("type=Cache,target=/c,sharing=Shared", "target=/c,type=cache"),
        ("type=secret,src=a/b", "target=/run/secrets/b,id=a/b,type=secret"),
        ("type=secret,target=/s", "target=/s,id=s,type=secret"),
    ],
)
def test_op_text_of_a_mount(options: str, text: str) -> None:
    (step,) = steps.read_steps(inputs(f"FROM base\nENV W=/app\nWORKDIR /\nRUN --mount={options} x\n"))
    assert step.op.text == f'RUN --mount={text.replace("/app/", "/")} {SHELL} "x"] in /'


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("type=cache,target=/c,id=/c,sharing=shared", "target=/c,type=cache"),
        ("type=cache,target=/c,id=x", "target=/c,id=another,type=cache"),
        ("type=cache,target=/c,sharing=locked", "target=/c,id=another,type=cache"),
    ],
)
def test_new_engines_tell_only_default_identities_of_cache_mounts_from_others(
    options: str, text: str
) -> None:
    found = replace(inputs(f"FROM base\nRUN --mount={options} x\n"), cache_ids=False)
    assert steps.read_steps(found)[0].op.text == f'RUN --mount={text} {SHELL} "x"] in /'


COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("source", "pin"),
    [
        ("https://h.test/a/x.tar", None),
        ("--checksum=sha256:1 https://h.test/a/x.tar?y", "x.tar sha256:1"),
        ("https://h.test/x.git", None),
        ("https://h.test/x.git#main", None),
        (f"https://h.test/x.git#{COMMIT}", f"git {COMMIT}:"),
        (f"git@h.test:x.git#{COMMIT}:sub", f"git {COMMIT}:sub"),
        (f"https://h.test/x.git?ref=v1&checksum={COMMIT}&subdir=s", f"git {COMMIT}:s"),
        (f"--checksum={COMMIT} git://h.test/x#v1", f"git {COMMIT}:"),
        (f"--keep-git-dir --checksum={COMMIT} ssh://h.test/x#v1", f"git {COMMIT} v1:"),
        (f"--checksum={COMMIT[:8]} https://h.test/x.git#v1", None),
    ],
)
def test_checksum_or_commit_pins_a_download(source: str, pin: str | None) -> None:
    (step,) = steps.read_steps(inputs(f"FROM base\nADD {source} /x\n"))
    assert [found.pin for found in step.sources] == [pin]


def test_stage_upon_another_one_sees_its_environment_before_its_arguments() -> None:
    text = "FROM base AS a\nENV A=0\nARG B=1\nENV C=2\nENV A=1\nARG A=2\nRUN x\nFROM a\nRUN y\n"
    first, second = (step.variables for step in steps.read_steps(inputs(text)))
    assert {name: v.value for name, v in first.items()} == {
        **{"HOME": "/", "APP": "/app", "PATH": steps.DEFAULT_PATH, "B": "1", "C": "2", "A": "2"}
    }
    assert list(second) == ["B", "HOME", "APP", "PATH", "A", "C"], "ENVs come again, in their first order"
    assert second["A"].value == "1", "an ENV wins over an ARG of the stage below"


def test_onbuild_instructions_count_with_the_variables_that_they_see() -> None:
    text = (
        "FROM base AS a\nARG V=1\nONBUILD ARG W=$V\nONBUILD RUN make\nONBUILD COPY $W /\nFROM a\nCOPY f /\n"
    )

    def triggers(found: BuildInputs) -> tuple[str, ...]:
        return steps.read_steps(found)[0].triggers

    plain = triggers(inputs(text))
    assert plain[2] == "COPY 1 /"
    assert plain[1].startswith("RUN make [")
    assert triggers(inputs(text.replace("V=1", "V=2")))[2] == "COPY 2 /"
    assert triggers(inputs(text, W="3"))[2] == "COPY 3 /"
    assert triggers(inputs(text.replace("V=1", "V=1 X=1")))[1] != plain[1], "a RUN sees every ARG"


def test_path_has_a_default_where_the_image_sets_none() -> None:
    text = "FROM scratch\nENV PATH=/x:$PATH\nRUN x\nFROM set\nRUN y\n"
    found = inputs(text)
    found = replace(found, images={"set": InputImage("set", "", {"PATH": "/p"})})
    paths = [replace(found, target=target) for target in ("0", "1")]
    values = [steps.read_steps(each)[0].variables["PATH"].value for each in paths]
    assert values == [f"/x:{steps.DEFAULT_PATH}", "/p"]


def test_platform_of_a_step_is_its_stages() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM base AS tools\nRUN a\nFROM tools\nRUN b\n"
        "FROM base AS out\nRUN --mount=from=1,target=/m c\nFROM scratch\nCOPY --from=out / /\n"
    )
    parsed = parse(text, platform="linux/arm64", build_platform="linux/amd64")
    found = steps.read_steps(replace(inputs(text), dockerfile=parsed, platform="linux/arm64"))
    platforms = {step.line: step.platform for step in found}
    # A mount has no stage numbers, so line 3 is not built.
    assert platforms == {6: "linux/arm64", 8: "linux/arm64"}
    named = parse(text.replace("from=1", "from=tools"), platform="linux/arm64", build_platform="linux/amd64")
    found = steps.read_steps(replace(inputs(text), dockerfile=named, platform="linux/arm64"))
    assert {s.line: s.platform for s in found} == {2: "linux/amd64", 6: "linux/arm64", 8: "linux/arm64"}


def test_linked_copies_build_on_scratch_and_the_next_step_on_all_of_them() -> None:
    text = "FROM base\nRUN x\nCOPY --link f /\nCOPY --link --chmod=1 f /\nRUN y\n"
    text += "FROM base\nCOPY --link f /\nRUN z\n"
    merging = replace(inputs(text), merge_op=True)
    found = {
        step.line: step for target in ("0", "1") for step in steps.read_steps(replace(merging, target=target))
    }
    assert {line: step.parents for line, step in found.items()} == {
        2: (),
        3: (),
        4: ((0, 1), (0, 2)),
        5: ((0, 3),),
        7: (),
        8: ((1, 1),),
    }
    based = {line: step.base for line, step in found.items() if step.base}
    assert based == {2: "base", 3: "scratch", 7: "scratch", 8: "base"}
    assert [step.base for step in steps.read_steps(inputs(text))] == ["base", None], "without MergeOp"


def test_linked_copy_on_scratch_is_an_ordinary_copy() -> None:
    text = "FROM scratch\nCOPY --link f /\nCOPY --link g /\nCOPY h /\n"
    first, second, third = steps.read_steps(replace(inputs(text), merge_op=True))
    assert [step.linked for step in (first, second, third)] == [False, True, False]
    assert third.parents == (first.key, second.key)
    assert not second.parents


def test_run_sees_an_absolute_workdir_as_written() -> None:
    text = "FROM base\nWORKDIR /w//x/\nCOPY f .\nRUN x\nWORKDIR ./y/\nRUN x\n"
    assert [step.op.text for step in steps.read_steps(inputs(text))] == [
        "WORKDIR /w/x",
        "COPY f /w/x/",
        f'RUN {SHELL} "x"] in /w//x/',
        "WORKDIR /w/x/y",
        f'RUN {SHELL} "x"] in /w/x/y',
    ]


def test_explicit_default_shell_equals_the_default() -> None:
    text = 'FROM base\nRUN x\nSHELL ["/bin/sh",   "-c"]\nRUN x\nFROM base AS a\nFROM scratch\nRUN x\n'
    for target in ("stage-0", None):
        found = steps.read_steps(replace(inputs(text), target=target))
        assert {step.settings["SHELL"].value for step in found} == {'["/bin/sh", "-c"]'}
