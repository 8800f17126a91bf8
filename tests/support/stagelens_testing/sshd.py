"""A real OpenSSH server on loopback: the remote side of an engine behind SSH, for one test session."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from stagelens.engine import Engine
from stagelens_testing import packages
from stagelens_testing.resources import free_port, wait_until

# Separate mounts: the server needs a user `sshd` and a folder in /run, which this machine does not get. Its
# /run is that of another machine, with the engine's socket, docker's command and the users' keys. `setpriv`
# ends it together with a killed test run.
_ISOLATED = "setpriv --pdeathsig KILL unshare --mount"
_SCRIPT = """
set -e
mkdir far && mount -t tmpfs -o mode=755 none far && mkdir far/sshd far/bin && cp user.pub far
touch far/engine.sock far/bin/docker
mount --bind "$1" far/engine.sock && mount --bind "$2" far/bin/docker
mount --rbind far /run && mount --bind passwd /etc/passwd
exec "$0" -D -e -f sshd_config
"""
_SERVER = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile /run/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
SetEnv "PATH=/run/bin:/usr/bin:/bin" "DOCKER_HOST=unix:///run/engine.sock"
Match User stranger
    AuthorizedKeysFile none
Match User bare
    SetEnv "PATH=/nowhere"
Match User lost
    SetEnv "PATH=/run/bin" "DOCKER_HOST=unix:///nowhere.sock"
Match User chatty
    ForceCommand echo Welcome; docker system dial-stdio
"""
# The unprivileged users are for tests of failures.
_USERS = """root:x:0:0::/run:/bin/sh
guest:x:65533:65533::/run:/bin/sh
stranger:x:65533:65533::/run:/bin/sh
bare:x:65533:65533::/run:/bin/sh
lost:x:0:0::/run:/bin/sh
chatty:x:0:0::/run:/bin/sh
sshd:x:65532:65532::/run/sshd:/usr/sbin/nologin
"""
# The user's side: what `ssh` reads instead of the configuration of the user who runs the tests.
_CLIENT = """
Host lab
    HostName 127.0.0.1
    Port {port}
    User root
Host changed
    HostName 127.0.0.1
    HostKeyAlias changed
Host *
    IdentityFile {folder}/user
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/.ssh/known_hosts
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
"""


@dataclass(frozen=True, slots=True)
class SshServer:
    """A running server.

    `home` is a home with keys and known hosts. `bin` has an `ssh` that reads only the configuration of that
    home. Its host `lab` is the server; for `localhost` it knows no key.
    """

    home: Path
    port: int

    @property
    def bin(self) -> Path:
        """The folder for the PATH."""
        return self.home / "bin"

    def address(self, user: str = "root", host: str = "127.0.0.1") -> str:
        """Return the address of the engine for a user.

        For `lost`, DOCKER_HOST is wrong; `chatty` gets an extra line of output; `guest` may not use the
        engine's socket; `bare` finds no docker; for `stranger` no key is accepted.
        """
        return f"ssh://{user}@{host}:{self.port}"


def _key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


def _write_files(folder: Path, port: int) -> SshServer:
    """Write the files of both sides: the server's into `folder`, the user's into `.ssh` in it."""
    server = SshServer(folder, port)
    (folder / ".ssh").mkdir()
    server.bin.mkdir()
    host, user = _key(folder / "host"), _key(folder / "user")
    (folder / "sshd_config").write_text(_SERVER.format(folder=folder, port=port))
    (folder / "passwd").write_text(_USERS)
    (folder / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {host}\nchanged {user}\n")
    config = folder / ".ssh/config"
    config.write_text(_CLIENT.format(folder=folder, port=port))
    program = server.bin / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(config))} "$@"\n')
    program.chmod(0o755)
    return server


@contextmanager
def ssh_server(engine: Engine) -> Generator[SshServer]:
    """Start a server whose users find the engine at DOCKER_HOST, and remove it at the end."""
    root = packages.unpack("sshd")
    folder = Path(tempfile.mkdtemp(prefix="sshd-"))
    server = _write_files(folder, free_port())
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    environment["LD_LIBRARY_PATH"] = ":".join(str(each) for each in root.glob("usr/lib/*-linux-*"))
    socket_path = engine.address.removeprefix("unix://")
    docker = packages.unpack() / "usr/bin/docker"
    command = [*_ISOLATED.split(), "sh", "-c", _SCRIPT, root / "usr/sbin/sshd", socket_path, docker]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: process.poll() is not None or _listens(server.port), "a start of sshd")
        assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture(scope="session")
def sshd(engine: Engine) -> Iterator[SshServer]:
    """The running engine behind a server of this test session."""
    if reason := packages.unavailable_reason() or (None if shutil.which("ssh") else "not installed: ssh"):
        pytest.skip(reason)
    with ssh_server(engine) as server:
        yield server
