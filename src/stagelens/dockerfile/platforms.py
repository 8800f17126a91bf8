"""The ARGs that BuildKit sets by itself, which hold in a stage only where it asks for them."""

from __future__ import annotations

import platform


def platform_arguments(target: str | None = None) -> dict[str, str]:
    """BUILDPLATFORM, TARGETARCH and the like: the machine's own platform, and the one that is built for."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine().lower())
    values: dict[str, str] = {}
    for side, name in (("BUILD", f"linux/{machine}"), ("TARGET", target or f"linux/{machine}")):
        system, architecture, variant = (*name.split("/"), "", "")[:3]
        values |= {f"{side}PLATFORM": name, f"{side}OS": system}
        values |= {f"{side}ARCH": architecture, f"{side}VARIANT": variant}
    return values
