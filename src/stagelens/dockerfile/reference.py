"""Names of images in full: distribution/reference, normalize.go."""

from __future__ import annotations


def full_name(name: str) -> str:
    """With registry, namespace and tag: `busybox` is `docker.io/library/busybox:latest`."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    tagged = "@" in rest or ":" in rest.rpartition("/")[2]
    return f"{first}/{rest}" if tagged else f"{first}/{rest}:latest"
