"""A token server for a registry: a user who logs in gets a signed token for the requested scopes.

Source: the distribution project's token specifications (basic by GET, OAuth 2 by POST). Run as a program
in the network namespace of the registry: `python tokens.py FOLDER USER PASSWORD`; FOLDER has `key.pem` and
`chain.pem`. It logs requests to standard error.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import load_pem_x509_certificate

SERVICE, ISSUER = "tests", "the tests' token server"


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(folder: Path, scopes: list[str], user: str) -> str:
    """Return a JSON Web Token that grants each `repository:NAME:ACTIONS`."""
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    certificate = load_pem_x509_certificate((folder / "chain.pem").read_bytes())
    der = certificate.public_bytes(serialization.Encoding.DER)
    parts = [scope.rsplit(":", 1) for scope in scopes]
    kinds = [(*resource.split(":", 1), actions) for resource, actions in parts]
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": user,
        "aud": SERVICE,
        "iat": now,
        "nbf": now - 10,
        "exp": now + 300,
        "jti": uuid.uuid4().hex,
        "access": [
            {"type": kind, "name": name, "actions": actions.split(",")} for kind, name, actions in kinds
        ],
    }
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
    signed = ".".join(url64(json.dumps(part).encode()) for part in (header, claims))
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())  # pyright: ignore
    return f"{signed}.{url64(signature)}"


class Handler(BaseHTTPRequestHandler):
    """Answers requests for tokens."""

    def do_GET(self) -> None:
        """Answer a request with the account in its header."""
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(encoded if kind == "Basic" else "").decode().partition(":")
        self._answer(parse_qs(urlsplit(self.path).query), user, password)

    def do_POST(self) -> None:
        """Answer a request with the account in its form."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._answer(form, form.get("username", [""])[0], form.get("password", [""])[0])

    def _answer(self, asked: dict[str, list[str]], user: str, password: str) -> None:
        folder, *account = sys.argv[1:]
        scopes = [scope for value in asked.get("scope", []) for scope in value.split()]
        allowed = [user, password] == account
        body = b"{}"
        if allowed:
            made = token(Path(folder), scopes, user)
            body = json.dumps({"token": made, "access_token": made, "expires_in": 300}).encode()
        print(f"token {self.command} {user or '-'} {' '.join(scopes)} {allowed}", file=sys.stderr, flush=True)
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"listening on 127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()
