"""Values that BuildKit fills in: the full name of an image, and the platform arguments."""

from __future__ import annotations

import platform


def normalize_image_name(name: str) -> str:
    """Add the default registry, namespace and tag to an image name, as distribution/reference does.

    Parameters
    ----------
    name
        A name as a Dockerfile has it, such as `busybox`.

    Returns
    -------
    str
        The full name, such as `docker.io/library/busybox:latest`.
    """
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    tagged = "@" in rest or ":" in rest.rpartition("/")[2]
    return f"{first}/{rest}" if tagged else f"{first}/{rest}:latest"


def platform_arguments(target: str | None = None) -> dict[str, str]:
    """Return the ARGs that BuildKit predefines, such as BUILDPLATFORM and TARGETARCH.

    A stage sees one of them only after it declares the name with ARG.

    Parameters
    ----------
    target
        The platform to build for, such as `linux/arm64`; None for the platform of this machine.

    Returns
    -------
    dict
        The value of each argument by name.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine().lower())
    values: dict[str, str] = {}
    for side, name in (("BUILD", f"linux/{machine}"), ("TARGET", target or f"linux/{machine}")):
        system, architecture, variant = (*name.split("/"), "", "")[:3]
        values |= {f"{side}PLATFORM": name, f"{side}OS": system}
        values |= {f"{side}ARCH": architecture, f"{side}VARIANT": variant}
    return values
