"""The private engine's network: a bridge, a pool of subnets, and firewall rules in a separate chain.

dockerd's rules are disabled. A second dockerd that starts in a network namespace empties the DOCKER chains
that both would use (libnetwork's `removeIPChains`), and the first one loses its published ports and its
network isolation. The rules of the separate chain let containers connect to the outside and isolate the
engine's networks; docker-proxy serves published ports without any rule.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network

from stagelens.engine.errors import EngineStartFailed

# A pool (a /20) has room for the engine's bridge (a /24) and 60 networks of 62 hosts, for many learners.
BRIDGE_PREFIX = 24
NETWORK_PREFIX = 26
# Ranges that VPNs and Docker's defaults rarely use come first.
_POOLS = tuple(
    subnet
    for block in ("172.30.0.0/16", "172.31.0.0/16", "10.213.0.0/16", "192.168.240.0/20")
    for subnet in IPv4Network(block).subnets(new_prefix=20)
)


def find_program(name: str) -> str | None:
    """Return the path of a program, or None; /usr/sbin is searched too, which a user's PATH often lacks."""
    return shutil.which(name, path=program_path())


def program_path() -> str:
    """Return PATH with the folders of system programs at its end."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def choose_pool(taken: Iterable[IPv4Network]) -> IPv4Network:
    """Return the first pool (a /20) that overlaps no network in use.

    Parameters
    ----------
    taken
        The networks in use.

    Returns
    -------
    IPv4Network
        The pool.

    Raises
    ------
    EngineStartFailed
        If every pool overlaps a network.
    """
    others = list(taken)
    for pool in _POOLS:
        if not any(pool.overlaps(other) for other in others):
            return pool
    raise EngineStartFailed(
        "No private subnet is free for the engine's bridge.",
        why="each pool overlaps a route: " + ", ".join(str(other) for other in others[:20]),
        remedy="ip route   (and disconnect a VPN that uses every private range)",
    )


def routed_networks() -> list[IPv4Network]:
    """List the IPv4 networks that this machine has a route to, except for the default route."""
    listed = json.loads(_run("ip", "-j", "-4", "route", "show", "table", "all") or "[]")
    destinations = (str(route.get("dst", "default")) for route in listed)
    return [IPv4Network(text, strict=False) for text in destinations if text[0].isdigit()]


def set_up(bridge: str, pool: IPv4Network) -> None:
    """Create the bridge with the pool's first subnet, and the rules, after removing those of an earlier run.

    Parameters
    ----------
    bridge
        The name of the bridge and of the rules' chain.
    pool
        The range of the engine's networks.

    Raises
    ------
    EngineStartFailed
        If the kernel refuses, or permissions are missing.
    """
    tear_down(bridge)
    bridge_net = next(pool.subnets(new_prefix=BRIDGE_PREFIX))
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "address", "add", f"{bridge_net.network_address + 1}/{BRIDGE_PREFIX}", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        _run("iptables-restore", "-w", "--noflush", stdin=_rules(bridge, pool, bridge_net))
    except (OSError, subprocess.CalledProcessError) as error:
        tear_down(bridge)
        why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise EngineStartFailed(
            "The private engine's network cannot be created.",
            where=f"bridge {bridge}",
            why=why[-500:],
            remedy="run this as root outside of a container, or in one started with --privileged",
        ) from error


def _rules(chain: str, pool: IPv4Network, bridge_net: IPv4Network) -> str:
    """Return rules for iptables-restore: traffic within a network and to the outside, none between networks.

    Traffic within a bridge reaches these rules only if br_netfilter is on. Docker's rules recognize it by
    interfaces, whose names are not known yet; these recognize it by addresses.
    """
    others = (net for net in pool.subnets(new_prefix=NETWORK_PREFIX) if not net.overlaps(bridge_net))
    within = (f"-A {chain} -s {net} -d {net} -j ACCEPT" for net in (bridge_net, *others))
    lines = (
        "*filter",
        f":{chain} - [0:0]",
        *within,
        f"-A {chain} -s {pool} -d {pool} -j DROP",
        f"-A {chain} -s {pool} -j ACCEPT",
        f"-A {chain} -d {pool} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"-I FORWARD -j {chain}",
        "COMMIT",
        "*nat",
        f":{chain} - [0:0]",
        f"-A {chain} -s {pool} ! -d {pool} -j MASQUERADE",
        f"-A POSTROUTING -j {chain}",
        "COMMIT",
    )
    return "\n".join(lines) + "\n"


def tear_down(bridge: str, user_bridges: Iterable[str] = ()) -> None:
    """Remove the rules and the bridges; what does not exist is no error.

    Parameters
    ----------
    bridge
        The name of the engine's bridge and of the rules' chain.
    user_bridges
        The bridges of networks that users created.
    """
    for table, hook in (("filter", "FORWARD"), ("nat", "POSTROUTING")):
        for rule in (("-D", hook, "-j", bridge), ("-F", bridge), ("-X", bridge)):
            _try("iptables", "-w", "-t", table, *rule)
    for name in (bridge, *user_bridges):
        _try("ip", "link", "delete", name)


def _run(name: str, *arguments: str, stdin: str = "") -> str:
    path = find_program(name)
    if path is None:
        raise EngineStartFailed(f"The program {name} is missing.", remedy="stagelens doctor --fix")
    command = [path, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def _try(name: str, *arguments: str) -> None:
    if path := find_program(name):
        subprocess.run([path, *arguments], capture_output=True, check=False)
