"""Image names in full."""

from __future__ import annotations

import pytest

from stagelens.dockerfile import normalize_image_name


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("diamol/base", "docker.io/diamol/base:latest"),
        ("docker.io/busybox:1", "docker.io/library/busybox:1"),
        ("localhost/a", "localhost/a:latest"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
        ("example.org/a/b:1", "example.org/a/b:1"),
        ("busybox@sha256:00", "docker.io/library/busybox@sha256:00"),
    ],
)
def test_image_name_gets_registry_namespace_and_tag(name: str, full: str) -> None:
    assert normalize_image_name(name) == full
