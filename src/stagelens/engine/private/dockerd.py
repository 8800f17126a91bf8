"""The command line, configuration and environment of a private engine's dockerd."""

from __future__ import annotations

import os
from ipaddress import IPv4Network

from stagelens.engine.private import network
from stagelens.engine.private.model import PrivateEngine

# A grading engine's build cache drops what no build has used for so long; the builds of one submission are
# never so far apart. To clear by size, BuildKit searches the whole cache for each record that goes (0220).
_UNUSED = "unused-for=15m"
# Collect garbage when the heap, some 30 MB, has grown to five times what is in use instead of twice.
_LARGE_HEAP = {"GOGC": "400"}
# A proxy that refuses connections: pulls and the URLs of an ADD fail at once.
_REFUSING_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9") | {"NO_PROXY": ""}


def command_options(engine: PrivateEngine) -> list[str]:
    """Return the options of dockerd's command line."""
    return [
        f"--config-file={engine.config_file}",
        # dockerd uses a system containerd if one runs; there, namespaces keep the two engines apart.
        # (Engine 20.10 has these settings on its command line only, not in the file.)
        f"--containerd-namespace={engine.name}",
        f"--containerd-plugins-namespace={engine.name}-plugins",
    ]


def configuration(engine: PrivateEngine, pool: IPv4Network) -> dict[str, object]:
    """Return the content of daemon.json.

    https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file lists the settings.

    Parameters
    ----------
    engine
        The engine to configure.
    pool
        The range of its networks.

    Returns
    -------
    dict
        The settings.
    """
    settings: dict[str, object] = {
        "hosts": [engine.address],
        "data-root": str(engine.folder / "data"),
        "exec-root": str(engine.run_dir / "exec"),
        "pidfile": str(engine.pid_file),
        "bridge": engine.name,
        "default-address-pools": [{"base": str(pool), "size": network.NETWORK_PREFIX}],
        "iptables": False,
        "ip6tables": False,
    }
    if engine.limits is not None:
        settings |= {
            "cgroup-parent": f"/{engine.name}",
            # The systemd driver accepts slices of systemd only.
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "builder": {"gc": {"enabled": True, "policy": _gc_policy(engine.limits.disk)}},
        }
    return settings


def environment(engine: PrivateEngine) -> dict[str, str]:
    """Return dockerd's environment, which containerd and shims inherit.

    Every folder that it names exists as long as the engine runs.
    """
    overrides = {"PATH": network.program_path(), "TMPDIR": str(engine.temp_dir)}
    defaults = _LARGE_HEAP if engine.limits is not None else {}
    variables = defaults | os.environ | overrides | (_REFUSING_PROXY if engine.offline else {})
    # The login session removes this folder at its end, and shims would keep terminals' sockets there.
    variables.pop("XDG_RUNTIME_DIR", None)
    return variables


def _gc_policy(disk: int) -> list[dict[str, object]]:
    """Return the build cache's garbage collection for a disk of so many bytes; it runs once a minute."""
    return [
        {"all": True, "filter": [_UNUSED], "keepStorage": "0"},
        {"all": True, "keepStorage": str(disk // 2)},
    ]
