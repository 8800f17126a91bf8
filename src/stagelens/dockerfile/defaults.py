"""Values that BuildKit fills in: full names of images and platforms, and the automatic arguments."""

from __future__ import annotations

from collections.abc import Mapping
from platform import machine

from stagelens.dockerfile.errors import SeveralPlatforms


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


def context_name(name: str) -> str:
    """Return the name by which BuildKit looks up a build context: an image name without its defaults.

    Parameters
    ----------
    name
        The name of a stage or an image, such as `docker.io/library/alpine:latest`.

    Returns
    -------
    str
        The short name, such as `alpine`.
    """
    return name.removeprefix("docker.io/").removeprefix("library/").removesuffix(":latest")


def normalize_platform(name: str) -> str:
    """Return a platform in the form that BuildKit's platform arguments have (containerd/platforms).

    Parameters
    ----------
    name
        A platform as users write it, such as `arm64` or `linux/arm64/v8`.

    Returns
    -------
    str
        The platform, such as `linux/arm64`.

    Raises
    ------
    SeveralPlatforms
        If it is a list of platforms.
    """
    if "," in name:
        raise SeveralPlatforms(name)
    parts = [part.lower() for part in name.strip().split("/")]
    if len(parts) == 1:
        parts = [parts[0], _machine()] if parts[0] in _SYSTEMS else ["linux", parts[0]]
    system, architecture, variant = (*parts, "")[:3]
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    variant = _VARIANTS.get((architecture, variant), variant)
    return "/".join(filter(None, (_SYSTEMS.get(system, system), architecture, variant)))


def automatic_args(
    platform: str | None = None,
    build_platform: str | None = None,
    stage: str = "default",
    build_args: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the ARGs that BuildKit sets by itself, such as BUILDPLATFORM and TARGETARCH.

    FROM sees all of them; the other instructions of a stage see one only after an ARG declares it.

    Parameters
    ----------
    platform
        The platform to build for, such as `linux/arm64`; None for the one that builds.
    build_platform
        The platform of the engine; None for the one of this machine.
    stage
        The name of the stage to build.
    build_args
        The build arguments, which override the values.

    Returns
    -------
    dict
        The value of each argument by name.

    Raises
    ------
    SeveralPlatforms
        If `platform` is a list of platforms.
    """
    builder = normalize_platform(build_platform or f"linux/{_machine()}")
    values: dict[str, str] = {}
    for side, name in (("BUILD", builder), ("TARGET", normalize_platform(platform or builder))):
        system, architecture, variant = (*name.split("/"), "", "")[:3]
        values |= {f"{side}PLATFORM": name, f"{side}OS": system}
        values |= {f"{side}ARCH": architecture, f"{side}VARIANT": variant}
    values["TARGETSTAGE"] = stage
    overrides = build_args or {}
    return {name: overrides.get(name, value) for name, value in values.items()}


_SYSTEMS = {name: name for name in ("linux", "windows", "darwin", "freebsd")} | {"macos": "darwin"}
# The canonical name, and the variant that the name implies.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_VARIANTS = {
    ("amd64", "v1"): "",
    ("arm64", "v8"): "",
    ("arm64", "8"): "",
    ("arm", ""): "v7",
    **{("arm", number): f"v{number}" for number in "5678"},
}


def _machine() -> str:
    name = machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(name, name)
