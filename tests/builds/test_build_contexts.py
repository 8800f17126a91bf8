"""Named build contexts: what they may be, and which engines have them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import stagelens
from stagelens.buildkit import BuildRequest
from stagelens.builds import BuildContext, BuildFailed, read_build_contexts
from stagelens.dockerfile import SeveralPlatforms
from stagelens.engine import Engine
from stagelens.errors import StagelensError


def test_build_context_is_a_folder_an_image_or_a_url(tmp_path: Path) -> None:
    found = read_build_contexts(
        {
            "docker.io/library/assets:latest": tmp_path,
            "dockerfile": str(tmp_path),
            "ghcr.io/a/b:1": "docker-image://busybox",
            "repository": "https://example.test/r.git#main",
        }
    )
    assert found == (
        BuildContext("assets", "local:assets", tmp_path),
        BuildContext("dockerfile", "local:_dockerfile", tmp_path),
        BuildContext("ghcr.io/a/b:1", "docker-image://busybox"),
        BuildContext("repository", "https://example.test/r.git#main"),
    )
    assert read_build_contexts(None) == ()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("Assets", ".", "cannot name"),
        ("scratch", ".", "cannot name"),
        ("a", "no/such/folder", "no/such/folder is not a folder"),
        ("a", "target:other", "bake"),
        ("a", "oci-layout://folder", "sends no image layouts"),
    ],
)
def test_other_build_contexts_are_refused_with_a_next_step(name: str, value: str, why: str) -> None:
    with pytest.raises(StagelensError, match=why) as caught:
        read_build_contexts({name: value})
    assert caught.value.where == f"build context {name}"
    assert caught.value.remedy


def test_frontend_gets_each_build_context_and_must_know_them() -> None:
    attributes = BuildRequest(contexts={"assets": "local:assets"}).frontend_attributes()
    assert attributes["context:assets"] == "local:assets"
    assert attributes["frontend.caps"] == "moby.buildkit.frontend.contexts+forward"
    assert "frontend.caps" not in BuildRequest().frontend_attributes()


@pytest.mark.engine
def test_engine_that_ignores_build_contexts_is_refused(engine: Engine, tmp_path: Path) -> None:
    old = replace(engine, info=replace(engine.info, version="20.10.24"))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY --from=assets /a /\n")
    with pytest.raises(StagelensError, match=r"Engine 20\.10\.24 ignores them"):
        stagelens.build(tmp_path, engine=old, build_contexts={"assets": tmp_path})


@pytest.mark.engine
def test_unknown_source_may_be_a_build_context(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY --from=stagelens-no-such /a /\n")
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(tmp_path, engine=engine)
    assert "--build-context stagelens-no-such=PATH" in str(caught.value.remedy)


@pytest.mark.engine
def test_several_platforms_are_refused_by_builds_and_forecasts(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    several = "linux/amd64,linux/arm64"
    for work in (stagelens.build, stagelens.explore, stagelens.cache.read_inputs):
        with pytest.raises(SeveralPlatforms, match=several):
            work(tmp_path, engine=engine, platform=several)


@pytest.mark.engine
def test_from_an_upper_case_stage_name_says_what_to_write(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM diamol/base AS TOOLS\nFROM TOOLS\nRUN true\n")
    with pytest.raises(BuildFailed) as caught:
        stagelens.build(tmp_path, engine=engine)
    assert caught.value.line == 2
    assert "write FROM tools" in str(caught.value.remedy)
