"""Why an engine does not answer, in words, and what to do about it where that is known."""

from __future__ import annotations

import http.client
import re
import ssl
from pathlib import Path
from typing import Any, cast

from docker.errors import DockerException
from docker.tls import TLSConfig

from stagelens.engine.ssh import CONNECT_SECONDS, SshFailed, login

Reason = tuple[str, str | None]

# So begins what is said of an engine that may be there, and busy.
LATE = "no answer within"

# What ssh, the far side's shell and docker's command print -> what that means, and what to do; `{login}` is
# the command that logs in there. The words of OpenSSH and of docker/cli (cli/command/system/dial_stdio.go).
_SSH = (
    (r"^(\S+) cannot be run: (.*)", r"\1 cannot be run: \2", "install OpenSSH's client"),
    (
        r"^Host key for .* has changed",
        "the host's key is not the one that ssh knows of it",
        "find out why it changed; then: ssh-keygen -R '{known}', and {login}",
    ),
    (
        r"Host key verification failed",
        "ssh does not know the host's key",
        "{login}   once, and accept the key if it is the host's",
    ),
    (
        r"raw stream connection: .*permission denied",
        "the user there may not use the engine's socket",
        "on that host: sudo usermod -aG docker USER; or log in there as a user who may",
    ),
    (
        r"raw stream connection: (.*)",
        r"no engine answers on that host: \1",
        "start it there, or give its socket: ssh://USER@HOST/path/of/docker.sock",
    ),
    (
        r"docker: (?:command )?not found|docker: No such file|not a docker command",
        "the host has no docker command 18.09 or newer in the PATH that ssh gives",
        "install docker's command there; then this has to work: {login} docker version",
    ),
    (
        r"Permission denied \(",
        "the host accepts none of your keys",
        "ssh-add, for a key with a passphrase; ssh-copy-id, for a new one; then this has to work without a "
        "question: {login} docker version",
    ),
    (
        r"connect to host .*Connection refused",
        "no ssh server listens there",
        "start it, or mend the host and the port",
    ),
    (r"Could not resolve hostname", "no host of that name is known", "mend the host's name"),
    (
        r"[Tt]imed out",
        f"the host does not answer within {CONNECT_SECONDS} s",
        "see whether it runs and the network reaches it: {login}",
    ),
)

_OWN_FILES = (
    "the CA, certificate and key that whoever runs the engine has for you are ca.pem, cert.pem and key.pem"
)
_TLS_ON = f"export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=FOLDER   ({_OWN_FILES} in that folder)"
# OpenSSL's name of an error -> the same; `{cert}`, `{key}` and `{ca}` are the user's files.
_TLS = (
    (
        r"ALERT_CERTIFICATE_EXPIRED",
        "your certificate {cert} has expired, the engine says",
        "ask whoever runs the engine for a new cert.pem and key.pem",
    ),
    (
        r"ALERT_CERTIFICATE_REQUIRED",
        "the engine wants a certificate of yours and got none",
        _TLS_ON,
    ),
    (
        r"ALERT_(UNKNOWN_CA|\w*CERTIFICATE\w*|ACCESS_DENIED|DECRYPT_ERROR)",
        "the engine does not accept your certificate {cert}: its own CA has not signed it",
        "ask whoever runs the engine for a cert.pem and key.pem of its CA",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|UNKNOWN_PROTOCOL",
        "what listens there speaks no TLS",
        "unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH; or use the engine's port for TLS, 2376 as a rule",
    ),
    (r"KEY_VALUES_MISMATCH", "{key} is not the key of {cert}", _OWN_FILES),
    (r"NO_CERTIFICATE|PEM|ASN1|NESTED", "{ca}, {cert} or {key} cannot be read", _OWN_FILES),
)
# What OpenSSL finds wrong with the engine's certificate: X509_V_ERR_….
_EXPIRED, _NOT_YET, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64


def explain(error: Exception, address: str, tls: TLSConfig | None, seconds: float) -> Reason:
    """The innermost cause in words, and a remedy where one is known; `seconds` was the deadline."""
    text = str(error)
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, SshFailed):
            return _ssh(cause.words, address)
        if isinstance(cause, ssl.SSLError):
            return _tls(cause, tls)
    if "paramiko" in text:
        return "on Windows, ssh addresses need the paramiko package", "pip install 'stagelens[ssh]'"
    if any(isinstance(cause, PermissionError) for cause in causes):
        return _no_rights(address)
    if any(isinstance(cause, FileNotFoundError) for cause in causes):
        return "no such socket", None
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "the address is there, but nothing listens on it", None
    if any(isinstance(cause, TimeoutError) for cause in causes) or "timed out" in text.lower():
        return f"{LATE} {seconds:g} s", None
    if "HTTP request to an HTTPS server" in text:
        return "the engine speaks TLS there, and was asked without", _TLS_ON
    said = next((cause for cause in causes if isinstance(cause, http.client.BadStatusLine)), None)
    if isinstance(said, http.client.RemoteDisconnected) and not address.startswith(("unix:", "ssh:")):
        # OpenSSL or a proxy may close before its alert is read.
        if tls is not None:
            return "it ended the connection: it may not accept your certificate", _OWN_FILES
        return "it ended the connection without an answer: it may want TLS", _TLS_ON
    return _no_engine(error, said, address)


def lost(error: Exception, address: str, tls: TLSConfig | None, seconds: float) -> str:
    """Why an engine that answered before does so no more: that it ended a connection is no riddle then."""
    if any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in _causes(error)):
        return "it ended the connection"  # http.client.RemoteDisconnected is a reset, too
    return explain(error, address, tls, seconds)[0]


def _no_engine(error: Exception, said: http.client.BadStatusLine | None, address: str) -> Reason:
    """What answers in a way that no engine does; `said` is what it began with instead of HTTP."""
    if said is not None and address.startswith("ssh://"):
        return (
            f"the user's shell there prints something of its own: {str(said.args[0]).strip()[:80]!r}",
            "keep its start-up files silent; this has to print docker's answer alone: "
            f"{login(address)} docker version",
        )
    text = str(error)
    if isinstance(error, ValueError) and address.startswith("ssh://"):
        return text, None
    if not isinstance(error, DockerException | OSError):
        return f"not an engine: {type(error).__name__}: {text[:200]}", None
    return text.removeprefix("Error while fetching server API version: ")[:300], None


def _no_rights(address: str) -> Reason:
    if "podman" in address:
        return "permission denied: you are not in podman.socket's owner", "run this as that user"
    remedy = "sudo usermod -aG docker $USER, then log out and in (or run this as root)"
    return "permission denied: you are not in the docker group", remedy


def _ssh(words: str, address: str) -> Reason:
    places = {"login": login(address), "known": login(address, known_hosts=True)}
    for pattern, meaning, remedy in _SSH:
        if found := re.search(pattern, words, re.MULTILINE):
            return found.expand(meaning), remedy.format(**places)
    last = words.rpartition("\n")[2] or "it ended and said nothing"
    return f"ssh: {last[:300]}", "this has to work: {login} docker version".format(**places)


def _tls(error: ssl.SSLError, tls: TLSConfig | None) -> Reason:
    cert, key = cast(Any, tls).cert or ("cert.pem", "key.pem") if tls else ("cert.pem", "key.pem")
    files = {"ca": tls.ca_cert if tls else None, "cert": cert, "key": key}
    if isinstance(error, ssl.SSLCertVerificationError):
        return _their_certificate(error, files["ca"])
    for pattern, meaning, remedy in _TLS:
        if re.search(pattern, error.reason or ""):
            return meaning.format(**files), remedy
    return f"TLS fails: {error.reason or error}", None


def _their_certificate(error: ssl.SSLCertVerificationError, ca: str | None) -> Reason:
    message = error.verify_message.rstrip(".")
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        remedy = "give a name that is in its certificate, or have one made with this name (subjectAltName)"
        return f"the engine's certificate is for another name: {message}", remedy
    if error.verify_code in (_EXPIRED, _NOT_YET):
        return f"the engine's certificate cannot be used: {message}", "renew it, or set this machine's clock"
    if ca is None:
        return f"no CA that this machine trusts has signed the engine's certificate: {message}", _TLS_ON
    remedy = f"put the certificate of the CA that signed the engine's into {Path(ca)}"
    return f"the CA in {ca} has not signed the engine's certificate: {message}", remedy


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what caused it, and the errors wrapped as arguments (urllib3 and requests do that)."""
    found: list[BaseException] = []
    todo: list[BaseException] = [error]
    while todo and len(found) < 50:
        current = todo.pop()
        if current in found:
            continue
        found.append(current)
        todo += [e for e in (current.__cause__, current.__context__) if e is not None]
        todo += [arg for arg in current.args if isinstance(arg, BaseException)]
        reason = getattr(current, "reason", None)
        todo += [reason] if isinstance(reason, BaseException) else []
    return found
