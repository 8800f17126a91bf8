"""Names of a namespace are valid everywhere, and differ from those of other namespaces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens_course.apps.names import resource_names, sanitize

# https://docs.docker.com/reference/cli/docker/image/tag/ (a tag), and what containers and networks allow.
VALID = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


def test_default_names_are_those_of_the_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    names = resource_names(None)
    assert names.network == "nat"
    assert names.container("iotd") == "iotd"
    assert names.image("image-gallery") == "image-gallery:latest"


def test_every_name_contains_the_namespace() -> None:
    names = resource_names("ada")
    assert names.network == "nat-ada"
    assert names.container("iotd") == "iotd-ada"
    assert names.image("image-gallery") == "image-gallery:ada"


def test_jupyterhub_user_is_the_default_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert resource_names(None).network == "nat-ada"
    assert resource_names("grace").network == "nat-grace"
    assert resource_names("").network == "nat"


@pytest.mark.parametrize(
    "name",
    ["Ada", "ada@example.org", "ada_l", "Ärger", "a b", "-", "latest", "../x", "x" * 300, "a\n", "\ud800"],
)
def test_invalid_names_are_changed(name: str) -> None:
    assert VALID.fullmatch(sanitize(name))
    assert sanitize(name) != name


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_stay_different(one: str, other: str) -> None:
    assert VALID.fullmatch(sanitize(one))
    assert (sanitize(one) == sanitize(other)) == (one == other)


def test_name_that_looks_changed_is_changed_again() -> None:
    changed = sanitize("Ada")
    assert sanitize(changed) != changed
