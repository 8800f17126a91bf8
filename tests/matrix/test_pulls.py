"""Builds whose base image comes from a registry: open, or with credentials as the docker CLI keeps them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from stagelens_testing.registry import PASSWORD, USER, Registry
from stagelens_testing.resources import wait_until

import stagelens
from stagelens.builds import BuildFailed, BuildTrace
from stagelens.engine import Engine, connect

pytestmark = pytest.mark.engine
Build = Callable[[str], BuildTrace]


@pytest.fixture
def private(login_registry: Registry, engine: Engine, unique: str) -> str:
    """A base image that only the registry has and that needs a login."""
    return pushed(login_registry, engine, unique)


def pushed(registry: Registry, engine: Engine, unique: str) -> str:
    """diamol/base with a label of its own, known to no engine."""
    made = engine.api.create_container("diamol/base", ["/none"], name=unique)["Id"]
    try:
        engine.api.commit(made, repository=f"{unique}-made", changes=[f"LABEL of={unique}"])
    finally:
        engine.api.remove_container(made)
    try:
        return registry.push(engine, f"{unique}-made", f"course/{unique}:1")
    finally:
        engine.api.remove_image(f"{unique}-made")


@pytest.fixture
def build(engine: Engine, tmp_path: Path, unique: str, clean: object) -> Build:
    """Build FROM an image with what docker's config file says now; the result is tagged."""

    def run(image: str) -> BuildTrace:
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(f"FROM {image}\nCOPY Dockerfile /\n")
        again = connect(engine.address, start=False)
        try:
            return stagelens.build(context, engine=again, tags=[f"{unique}:x"])
        finally:
            again.api.close()

    return run


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, object]], None]:
    """Write docker's config file for the time of the test."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(config: dict[str, object]) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config))

    write({})
    return write


def login(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def label(engine: Engine, unique: str) -> str:
    return engine.api.inspect_image(f"{unique}:x")["Config"]["Labels"]["of"]


def test_base_image_is_pulled(
    engine: Engine, open_registry: Registry, build: Build, configure: object, unique: str
) -> None:
    image = pushed(open_registry, engine, unique)
    build(image)
    assert label(engine, unique) == unique
    asked = f"GET /v2/course/{unique}/blobs/"
    wait_until(lambda: any(asked in line for line in open_registry.requests()), "the pull")


def test_login_comes_from_dockers_config_file(
    engine: Engine, login_registry: Registry, private: str, build: Build, configure, unique: str
) -> None:
    configure({"auths": {login_registry.address: login(USER, PASSWORD)}})
    build(private)
    assert label(engine, unique) == unique


def test_login_is_enough_for_a_registry_with_tokens(
    engine: Engine, token_registry: Registry, build: Build, configure, unique: str
) -> None:
    image = pushed(token_registry, engine, unique)
    with pytest.raises(BuildFailed, match=f"docker login {token_registry.address}"):
        build(image)
    configure({"auths": {token_registry.address: login(USER, "wr0ng-one")}})
    with pytest.raises(BuildFailed, match=f"docker login {token_registry.address}"):
        build(image)
    before = len(token_registry.granted())
    configure({"auths": {token_registry.address: login(USER, PASSWORD)}})
    build(image)
    assert label(engine, unique) == unique
    asked = token_registry.granted()[before:]
    assert any(f" {USER} repository:course/{unique}:pull" in f" {row}" for row in asked), asked
    assert PASSWORD not in token_registry.log.read_text()


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_login_comes_from_a_credential_helper(
    engine: Engine,
    login_registry: Registry,
    private: str,
    build: Build,
    configure,
    unique: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
) -> None:
    answer = {"ServerURL": login_registry.address, "Username": USER, "Secret": PASSWORD}
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        f'#!/bin/sh\n[ $1 = get ] && [ "$(cat)" = {login_registry.address} ] && cat {tmp_path}/answer ||\n'
        "{ [ $1 = list ] && echo '{}'; } || { echo credentials not found in native keychain; exit 1; }\n"
    )
    helper.chmod(0o755)
    (tmp_path / "answer").write_text(json.dumps(answer))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    configure({key: "tests" if key == "credsStore" else {login_registry.address: "tests"}})
    build(private)
    assert label(engine, unique) == unique


def test_missing_and_wrong_login_have_the_line_and_a_remedy(
    login_registry: Registry, private: str, build: Build, configure
) -> None:
    for auths in ({}, {login_registry.address: login(USER, "wr0ng-one")}):
        configure({"auths": auths})
        with pytest.raises(BuildFailed) as caught:
            build(private)
        assert caught.value.line == 1
        assert "wr0ng-one" not in str(caught.value)
        assert f"docker login {login_registry.address}" in str(caught.value)


def test_missing_image_is_named(
    open_registry: Registry, build: Build, configure: object, unique: str
) -> None:
    with pytest.raises(BuildFailed, match="not found") as caught:
        build(f"{open_registry.address}/{unique}:nothing")
    assert caught.value.line == 1
    assert f"{unique}:nothing" in str(caught.value)
