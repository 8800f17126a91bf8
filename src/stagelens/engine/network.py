"""The private engine's network: a bridge, a pool of subnets and firewall rules that carry its own name.

dockerd's own rules are switched off: when a second dockerd starts in a network namespace it empties the
DOCKER chains that both would use (libnetwork's `removeIPChains`), so the first one's published ports and
network isolation are gone. Rules in a chain of our own give containers the way out and keep the engine's
networks apart; published ports are served by docker-proxy, which needs none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network

from stagelens.engine.errors import EngineStartFailed

# A pool (a /20) holds the engine's own bridge (a /24) and 60 networks of 62 hosts, for many learners at once.
BRIDGE_PREFIX = 24
NETWORK_PREFIX = 26
# Ranges that VPNs and Docker's own defaults leave alone come first.
_POOLS = tuple(
    subnet
    for block in ("172.30.0.0/16", "172.31.0.0/16", "10.213.0.0/16", "192.168.240.0/20")
    for subnet in IPv4Network(block).subnets(new_prefix=20)
)


def program(name: str) -> str | None:
    """The path of a program; /usr/sbin is looked at too, which is often not on a user's PATH."""
    return shutil.which(name, path=search_path())


def search_path() -> str:
    """PATH with the folders of system programs at its end."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def choose_pool(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first pool (a /20) that overlaps none of `taken`.

    Raises
    ------
    EngineStartFailed: every pool overlaps one.
    """
    others = list(taken)
    for pool in _POOLS:
        if not any(pool.overlaps(other) for other in others):
            return pool
    raise EngineStartFailed(
        "There is no free private subnet for the engine's bridge.",
        why="each pool overlaps a route: " + ", ".join(str(other) for other in others[:20]),
        remedy="ip route   (and end a VPN that takes every private range)",
    )


def routes() -> list[IPv4Network]:
    """IPv4 networks that this machine has a route to, but for the default route."""
    listed = json.loads(_run("ip", "-j", "-4", "route", "show", "table", "all") or "[]")
    destinations = (str(route.get("dst", "default")) for route in listed)
    return [IPv4Network(text, strict=False) for text in destinations if text[0].isdigit()]


def set_up(bridge: str, pool: IPv4Network) -> None:
    """Make the bridge with the pool's first subnet, and the rules; what an earlier run left goes first.

    Raises
    ------
    EngineStartFailed: the kernel or a missing right does not allow it.
    """
    tear_down(bridge)
    own = next(pool.subnets(new_prefix=BRIDGE_PREFIX))
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "address", "add", f"{own.network_address + 1}/{BRIDGE_PREFIX}", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        _run("iptables-restore", "-w", "--noflush", stdin=_rules(bridge, pool, own))
    except (OSError, subprocess.CalledProcessError) as error:
        tear_down(bridge)
        why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise EngineStartFailed(
            "The private engine's network cannot be made.",
            where=f"bridge {bridge}",
            why=why[-500:],
            remedy="run this as root outside of a container, or in one started with --privileged",
        ) from error


def _rules(chain: str, pool: IPv4Network, own: IPv4Network) -> str:
    """What iptables-restore reads: within a network all may talk, between two nobody, to the world everybody.

    Traffic within one bridge meets these rules only where br_netfilter is on; Docker's rules tell it by its
    interfaces, whose names are not known yet, these by its addresses.
    """
    others = (net for net in pool.subnets(new_prefix=NETWORK_PREFIX) if not net.overlaps(own))
    within = (f"-A {chain} -s {net} -d {net} -j ACCEPT" for net in (own, *others))
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
    """Remove the rules and the bridges; what is not there is no error."""
    for table, hook in (("filter", "FORWARD"), ("nat", "POSTROUTING")):
        for rule in (("-D", hook, "-j", bridge), ("-F", bridge), ("-X", bridge)):
            _try("iptables", "-w", "-t", table, *rule)
    for name in (bridge, *user_bridges):
        _try("ip", "link", "delete", name)


def _run(name: str, *arguments: str, stdin: str = "") -> str:
    path = program(name)
    if path is None:
        raise EngineStartFailed(f"The program {name} is missing.", remedy="stagelens doctor --fix")
    command = [path, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def _try(name: str, *arguments: str) -> None:
    if path := program(name):
        subprocess.run([path, *arguments], capture_output=True, check=False)
