"""Names of a namespace: valid everywhere, and never another namespace's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens_course.apps.names import names_of, sanitise

# https://docs.docker.com/reference/cli/docker/image/tag/ (a tag), and what containers and networks allow.
VALID = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


def test_without_a_namespace_the_names_are_the_chapters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    names = names_of(None)
    assert names.network == "nat"
    assert names.container("iotd") == "iotd"
    assert names.image("image-gallery") == "image-gallery:latest"


def test_a_namespace_is_in_every_name() -> None:
    names = names_of("ada")
    assert names.network == "nat-ada"
    assert names.container("iotd") == "iotd-ada"
    assert names.image("image-gallery") == "image-gallery:ada"


def test_a_jupyterhub_user_has_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert names_of(None).network == "nat-ada"
    assert names_of("grace").network == "nat-grace"
    assert names_of("").network == "nat"


@pytest.mark.parametrize(
    "name",
    ["Ada", "ada@example.org", "ada_l", "Ärger", "a b", "-", "latest", "../x", "x" * 300, "a\n", "\ud800"],
)
def test_names_that_docker_does_not_take_are_changed(name: str) -> None:
    assert VALID.fullmatch(sanitise(name))
    assert sanitise(name) != name


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_stay_different(one: str, other: str) -> None:
    assert VALID.fullmatch(sanitise(one))
    assert (sanitise(one) == sanitise(other)) == (one == other)


def test_a_name_cannot_pose_as_a_changed_one() -> None:
    changed = sanitise("Ada")
    assert sanitise(changed) != changed
