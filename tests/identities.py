"""An issuer of identities (OpenID Connect) on loopback, and the program that verifies them."""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from programs import PATIENCE, free_port, installed, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

AUDIENCE = "pypi.example.org"
ARGUMENTS = (
    "--provider=github",
    "--client-id=none",
    "--client-secret=none",
    "--cookie-secret=there-are-no-cookies-to-encrypt!",
    "--email-domain=*",
    "--upstream=static://202",
    "--skip-jwt-bearer-tokens",
)
"""What makes a verifier of oauth2-proxy: it has no login of its own, and is sent no cookie."""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An issuer with a key, which can be another one from some time on."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.name = "first"
        self.url = ""
        self.asked = 0

    def identity(
        self, claims: Mapping[str, Any] | None = None, *, key: rsa.RSAPrivateKey | None = None, algorithm: str = "RS256"
    ) -> str:
        """An identity with these claims besides the usual ones or in their place; None takes one away."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "job", "iat": now, "nbf": now, "exp": now + 300}
        said = {name: value for name, value in {**usual, **(claims or {})}.items() if value is not None}
        head = _encoded(json.dumps({"alg": algorithm, "typ": "JWT", "kid": self.name}).encode())
        text = f"{head}.{_encoded(json.dumps(said).encode())}"
        signature = (key or self.key).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_encoded(signature)}"

    def keys(self) -> dict[str, Any]:
        """The public key, as a set of keys (RFC 7517)."""
        self.asked += 1
        numbers = self.key.public_key().public_numbers()
        modulus = _encoded(numbers.n.to_bytes(256, "big"))
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.name, "n": modulus, "e": "AQAB"}]}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer at `url`."""
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                said = {
                    "/.well-known/openid-configuration": lambda: {
                        "issuer": issuer.url,
                        "jwks_uri": f"{issuer.url}/keys",
                        "authorization_endpoint": f"{issuer.url}/none",
                        "token_endpoint": f"{issuer.url}/none",
                        "id_token_signing_alg_values_supported": ["RS256"],
                        "response_types_supported": ["id_token"],
                        "subject_types_supported": ["public"],
                    },
                    "/keys": issuer.keys,
                }.get(self.path)
                self.send_response(200 if said else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                if said:
                    self.wfile.write(json.dumps(said()).encode())

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


@contextmanager
def verifying(directory: Path, *issuers: Issuer) -> Iterator[str]:
    """Start oauth2-proxy for these issuers; gives the address at which it answers."""
    known = [f"--extra-jwt-issuers={issuer.url}={AUDIENCE}" for issuer in issuers]
    with verifier(directory, [*ARGUMENTS, *known]) as url:
        yield url


@contextmanager
def verifier(directory: Path, arguments: Sequence[str]) -> Iterator[str]:
    """Start oauth2-proxy with these arguments but its address; gives the address at which it answers."""
    program = installed("oauth2-proxy")
    assert program
    port = free_port()
    with (directory / "oauth2-proxy.log").open("ab") as log:
        process = subprocess.Popen(
            [program, f"--http-address=127.0.0.1:{port}", *arguments], stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}/oauth2/auth"

    def answers() -> bool:
        try:
            return requests.get(url, timeout=PATIENCE).status_code == 401
        except requests.ConnectionError:
            return False

    try:
        wait_for(answers, url)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


def in_a_job(directory: Path, variables: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python as a job of CI with these variables does, and return what has become of it."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "UV_NO_CONFIG": "1", "CI": "true", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
