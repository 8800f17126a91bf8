"""Reasons why an engine does not answer, in words, and what to do about them."""

from __future__ import annotations

import http.client
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from stagelens.engine.ssh import SshFailed, known_hosts_name, login_command

if TYPE_CHECKING:
    from docker.tls import TLSConfig


class ConnectionFailure(NamedTuple):
    """Why an engine does not answer, what to do about it, and whether the reason is a timeout."""

    reason: str
    remedy: str | None = None
    timed_out: bool = False

    @classmethod
    def timeout(cls, seconds: float) -> ConnectionFailure:
        """Describe an answer that did not come in time: an engine may be there, and busy."""
        return cls(f"no answer within {seconds:g} s", timed_out=True)


# Output of ssh, the remote shell and docker's command (OpenSSH; docker/cli, cli/command/system/dial_stdio.go)
# -> the meaning, and what to do; `{login}` is the command that logs in there.
_SSH = (
    (r"^(\S+) cannot be run: (.*)", r"\1 cannot be run: \2", "install OpenSSH's client"),
    (
        r"^Host key for .* has changed",
        "the host's key is not the one that ssh knows",
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
        "install docker's command there; then this must work: {login} docker version",
    ),
    (
        r"Permission denied \(",
        "the host accepts none of your keys",
        "ssh-add, for a key with a passphrase; ssh-copy-id, for a new one; then this must work without a "
        "question: {login} docker version",
    ),
    (
        r"connect to host .*Connection refused",
        "no ssh server listens there",
        "start it, or correct the host and the port",
    ),
    (r"Could not resolve hostname", "no host of that name is known", "correct the host's name"),
    (
        r"[Tt]imed out",
        "the host does not answer in time",
        "check that it runs and that the network reaches it: {login}",
    ),
)

_OWN_FILES = "the CA, certificate and key from the engine's administrator are ca.pem, cert.pem and key.pem"
_TLS_ON = f"export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=FOLDER   ({_OWN_FILES} in that folder)"
# OpenSSL's name of an error -> the meaning, and what to do; `{cert}`, `{key}` and `{ca}` are the user's
# files.
_TLS = (
    (
        r"ALERT_CERTIFICATE_EXPIRED",
        "the engine reports that your certificate {cert} has expired",
        "ask the engine's administrator for a new cert.pem and key.pem",
    ),
    (
        r"ALERT_CERTIFICATE_REQUIRED",
        "the engine requires a client certificate",
        _TLS_ON,
    ),
    (
        r"ALERT_(UNKNOWN_CA|\w*CERTIFICATE\w*|ACCESS_DENIED|DECRYPT_ERROR)",
        "the engine does not accept your certificate {cert}: its own CA has not signed it",
        "ask the engine's administrator for a cert.pem and key.pem of its CA",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|UNKNOWN_PROTOCOL",
        "the server at that address does not use TLS",
        "unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH; or use the engine's TLS port, usually 2376",
    ),
    (r"KEY_VALUES_MISMATCH", "{key} is not the key of {cert}", _OWN_FILES),
    (r"NO_CERTIFICATE|PEM|ASN1|NESTED", "{ca}, {cert} or {key} cannot be read", _OWN_FILES),
)
# OpenSSL's codes of what is wrong with the engine's certificate: X509_V_ERR_….
_EXPIRED, _NOT_YET, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64


def describe_failure(
    error: Exception, address: str, tls: TLSConfig | None, seconds: float
) -> ConnectionFailure:
    """Describe why a request to an engine failed.

    Parameters
    ----------
    error
        What docker-py raised.
    address
        The engine's address.
    tls
        The TLS settings of the request.
    seconds
        The deadline of the request.

    Returns
    -------
    ConnectionFailure
        The innermost cause, and a remedy if one is known.
    """
    text = str(error)
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, SshFailed):
            return _ssh(cause.output, address)
        if isinstance(cause, ssl.SSLError):
            return _tls(cause, tls)
    if "paramiko" in text:
        reason = "on Windows, ssh addresses need the paramiko package"
        return ConnectionFailure(reason, "pip install 'stagelens[ssh]'")
    if any(isinstance(cause, PermissionError) for cause in causes):
        return _permission_denied(address)
    if any(isinstance(cause, FileNotFoundError) for cause in causes):
        return ConnectionFailure("no such socket")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return ConnectionFailure("the address exists, but nothing listens on it")
    if any(isinstance(cause, TimeoutError) for cause in causes) or "timed out" in text.lower():
        return ConnectionFailure.timeout(seconds)
    if "HTTP request to an HTTPS server" in text:
        return ConnectionFailure("the engine uses TLS, and the request did not", _TLS_ON)
    status_line = next((cause for cause in causes if isinstance(cause, http.client.BadStatusLine)), None)
    if isinstance(status_line, http.client.RemoteDisconnected) and not address.startswith(("unix:", "ssh:")):
        # OpenSSL or a proxy may close the connection before the alert is read.
        if tls is not None:
            reason = "it closed the connection: it may not accept your certificate"
            return ConnectionFailure(reason, _OWN_FILES)
        return ConnectionFailure("it closed the connection without an answer: it may require TLS", _TLS_ON)
    return _not_an_engine(error, status_line, address)


def describe_disconnect(error: Exception, address: str, tls: TLSConfig | None, seconds: float) -> str:
    """Describe why an engine that answered before no longer does.

    Parameters
    ----------
    error
        What docker-py raised.
    address
        The engine's address.
    tls
        The TLS settings of the request.
    seconds
        The deadline of the request.

    Returns
    -------
    str
        The innermost cause.
    """
    # A closed connection needs no guess here. http.client.RemoteDisconnected is a reset, too.
    if any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in _causes(error)):
        return "it closed the connection"
    return describe_failure(error, address, tls, seconds).reason


def _not_an_engine(
    error: Exception, status_line: http.client.BadStatusLine | None, address: str
) -> ConnectionFailure:
    """Describe an answer that no engine gives; `status_line` is its beginning if it is not HTTP."""
    if status_line is not None and address.startswith("ssh://"):
        return ConnectionFailure(
            f"the user's shell there prints extra output: {str(status_line.args[0]).strip()[:80]!r}",
            "keep its start-up files silent; this command must print docker's answer alone: "
            f"{login_command(address)} docker version",
        )
    from docker.errors import DockerException

    text = str(error)
    if isinstance(error, ValueError) and address.startswith("ssh://"):
        return ConnectionFailure(text)
    if not isinstance(error, DockerException | OSError):
        return ConnectionFailure(f"not an engine: {type(error).__name__}: {text[:200]}")
    return ConnectionFailure(text.removeprefix("Error while fetching server API version: ")[:300])


def _permission_denied(address: str) -> ConnectionFailure:
    if "podman" in address:
        return ConnectionFailure("permission denied: you do not own Podman's socket", "run this as its owner")
    remedy = "sudo usermod -aG docker $USER, then log out and in (or run this as root)"
    return ConnectionFailure("permission denied: you are not in the docker group", remedy)


def _ssh(output: str, address: str) -> ConnectionFailure:
    login = login_command(address)
    for pattern, meaning, remedy in _SSH:
        if found := re.search(pattern, output, re.MULTILINE):
            known = known_hosts_name(address)
            return ConnectionFailure(found.expand(meaning), remedy.format(login=login, known=known))
    last = output.rpartition("\n")[2] or "it ended without any output"
    return ConnectionFailure(f"ssh: {last[:300]}", f"this command must work: {login} docker version")


def _tls(error: ssl.SSLError, tls: TLSConfig | None) -> ConnectionFailure:
    cert, key = cast(Any, tls).cert or ("cert.pem", "key.pem") if tls else ("cert.pem", "key.pem")
    files = {"ca": tls.ca_cert if tls else None, "cert": cert, "key": key}
    if isinstance(error, ssl.SSLCertVerificationError):
        return _engine_certificate(error, files["ca"])
    for pattern, meaning, remedy in _TLS:
        if re.search(pattern, error.reason or ""):
            return ConnectionFailure(meaning.format(**files), remedy)
    return ConnectionFailure(f"TLS fails: {error.reason or error}")


def _engine_certificate(error: ssl.SSLCertVerificationError, ca: str | None) -> ConnectionFailure:
    message = error.verify_message.rstrip(".")
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        remedy = "use a name that is in its certificate, or have one issued for this name (subjectAltName)"
        return ConnectionFailure(f"the engine's certificate is for another name: {message}", remedy)
    if error.verify_code in (_EXPIRED, _NOT_YET):
        remedy = "renew it, or set this machine's clock"
        return ConnectionFailure(f"the engine's certificate is not valid now: {message}", remedy)
    if ca is None:
        reason = f"no CA that this machine trusts has signed the engine's certificate: {message}"
        return ConnectionFailure(reason, _TLS_ON)
    remedy = f"put the certificate of the CA that signed the engine's into {Path(ca)}"
    return ConnectionFailure(f"the CA in {ca} has not signed the engine's certificate: {message}", remedy)


def _causes(error: BaseException) -> list[BaseException]:
    """List the error, its causes, and the errors among its arguments (urllib3 and requests wrap them so)."""
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
