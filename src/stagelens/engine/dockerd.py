"""What a private engine's dockerd is told: its options, its daemon.json, its environment."""

from __future__ import annotations

import os
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from stagelens.engine import network

if TYPE_CHECKING:
    from stagelens.engine.private import PrivateEngine

# What no build has used for so long goes from a grading engine's cache. To go by size, BuildKit looks through
# all of it for each record that goes (0220). One submission's builds are never so far apart.
_UNUSED = "unused-for=15m"
# dockerd's heap, some 30 MB, may grow to five times what is in use, not twice, before it is looked through.
_LONG_LEASH = {"GOGC": "400"}
# A proxy that refuses: pulls, and what an ADD names, end at once.
_NOWHERE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9") | {"NO_PROXY": ""}


def options(engine: PrivateEngine) -> list[str]:
    """Those of the command line."""
    return [
        f"--config-file={engine.config}",
        # dockerd uses a system containerd where one runs; namespaces keep the two engines apart there.
        # (Engine 20.10 knows them as options only, not in the file.)
        f"--containerd-namespace={engine.name}",
        f"--containerd-plugins-namespace={engine.name}-plugins",
    ]


def configuration(engine: PrivateEngine, pool: IPv4Network) -> dict[str, object]:
    """daemon.json: https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file."""
    settings: dict[str, object] = {
        "hosts": [engine.address],
        "data-root": str(engine.folder / "data"),
        "exec-root": str(engine.run / "exec"),
        "pidfile": str(engine.pid_file),
        "bridge": engine.name,
        "default-address-pools": [{"base": str(pool), "size": network.NETWORK_PREFIX}],
        "iptables": False,
        "ip6tables": False,
    }
    if engine.limits is not None:
        settings |= {
            "cgroup-parent": f"/{engine.name}",
            # systemd, where it is the driver, takes slices of its own alone.
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "builder": {"gc": {"enabled": True, "policy": _clearing(engine.limits.disk)}},
        }
    return settings


def environment(engine: PrivateEngine) -> dict[str, str]:
    """dockerd's, which containerd and shims inherit; no folder in it goes while the engine runs."""
    own = {"PATH": network.search_path(), "TMPDIR": str(engine.temporary)}
    leash = _LONG_LEASH if engine.limits is not None else {}
    found = leash | os.environ | own | (_NOWHERE if engine.offline else {})
    # A login's own folder goes at its end; shims would want the sockets of terminals there.
    found.pop("XDG_RUNTIME_DIR", None)
    return found


def _clearing(disk: int) -> list[dict[str, object]]:
    """A build cache's rules for a disk of so many bytes; BuildKit goes by them once a minute."""
    return [
        {"all": True, "filter": [_UNUSED], "keepStorage": "0"},
        {"all": True, "keepStorage": str(disk // 2)},
    ]
