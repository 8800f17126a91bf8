"""Platforms, build contexts and letter case decide which stages a Dockerfile links."""

from __future__ import annotations

import pytest

from stagelens.dockerfile import Dockerfile, SeveralPlatforms, normalize_platform, parse

ARCHITECTURES = """\
FROM base AS tool-amd64
FROM base AS tool-arm64
FROM base AS tool-armv7
FROM tool-${TARGETARCH}${TARGETVARIANT} AS picked
FROM scratch
COPY --from=picked /tool /tool
"""


def picked(dockerfile: Dockerfile) -> str:
    source = next(stage for stage in dockerfile.stages if stage.name == "picked").base_stage
    assert source is not None
    assert source in dockerfile.needed_stages()
    return dockerfile.stages[source].label


@pytest.mark.parametrize(
    ("platform", "build_platform", "expected"),
    [
        ("linux/arm64", "linux/amd64", "tool-arm64"),
        ("linux/arm64/v8", "linux/amd64", "tool-arm64"),
        ("linux/arm", "linux/amd64", "tool-armv7"),
        (None, "linux/aarch64", "tool-arm64"),
        ("linux/amd64", "linux/arm64", "tool-amd64"),
    ],
)
def test_target_platform_decides_the_base_stage(
    platform: str | None, build_platform: str, expected: str
) -> None:
    assert picked(parse(ARCHITECTURES, platform=platform, build_platform=build_platform)) == expected


def test_build_argument_overrides_an_automatic_argument() -> None:
    found = parse(ARCHITECTURES, build_args={"TARGETARCH": "arm64"}, platform="linux/amd64")
    assert picked(found) == "tool-arm64"


@pytest.mark.parametrize(("target", "base"), [(None, "img:last"), ("one", "img:one"), ("0", "img:0")])
def test_target_stage_argument_names_the_target(target: str | None, base: str) -> None:
    text = "FROM img:${TARGETSTAGE} AS one\nFROM scratch AS last\n"
    assert parse(text, target=target).stages[0].base == base


def test_build_platform_is_a_platform_of_from() -> None:
    text = "FROM --platform=$BUILDPLATFORM a\nFROM --platform=$TARGETPLATFORM a\n"
    found = parse(text, platform="linux/arm64", build_platform="linux/amd64")
    assert [stage.platform for stage in found.stages] == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("arm64", "linux/arm64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AMD64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms_have_one_form(name: str, expected: str) -> None:
    assert normalize_platform(name) == expected


def test_several_platforms_are_refused_with_a_next_step() -> None:
    with pytest.raises(SeveralPlatforms, match="linux/amd64,linux/arm64") as caught:
        parse("FROM a\n", platform="linux/amd64,linux/arm64")
    assert caught.value.remedy == "build one platform at a time, first linux/amd64"


def test_from_finds_stages_by_their_names_in_lower_case() -> None:
    """COPY --from compares without letter case; FROM with an upper-case name is an image."""
    found = parse("FROM base AS TOOLS\nFROM TOOLS\nFROM tools\nCOPY --from=TOOLS /a /\n")
    sources = [(edge.source, edge.target, edge.kind) for edge in found.edges]
    assert sources == [("base", 0, "from"), ("TOOLS", 1, "from"), (0, 2, "from"), (0, 2, "copy")]
    assert [found.miscased_base(stage) for stage in found.stages] == [None, "tools", None]
    assert found.miscased_base(parse("FROM TOOLS\n").stages[0]) is None


def test_build_context_replaces_the_stage_of_its_name() -> None:
    text = "FROM base AS made\nRUN x\nFROM scratch\nCOPY --from=made /a /\nCOPY --from=assets /b /\n"
    found = parse(text, build_contexts=["made", "assets"])
    assert [(edge.source, edge.target) for edge in found.edges] == [("made", 0), (0, 1), ("assets", 1)]
    assert [i.keyword for i in found.stages[0].instructions] == ["FROM"]
    assert [found.build_context(edge.source) for edge in found.edges] == ["made", None, "assets"]


def test_build_context_replaces_an_image_with_its_default_tag_only() -> None:
    found = parse(
        "FROM alpine:latest\nFROM docker.io/library/alpine\nFROM alpine:3\n", build_contexts=["alpine"]
    )
    assert [found.build_context(edge.source) for edge in found.edges] == ["alpine", "alpine", None]
