"""Trusted publishing, from a job to a published file: a real issuer, oauth2-proxy, uv and twine."""

from __future__ import annotations

import base64
import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certificates import Authority, put
from gateway_programs import Registry, Setup, make_wheel, multipart, registry, twine_upload
from identities import AUDIENCE, Issuer, in_a_job, verifying
from programs import installed, wait_for
from server.access.token_lines import USER
from server.access.trusted import LIFETIME_SECONDS, Publishers, TrustedTokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response

pytestmark = pytest.mark.skipif(
    installed("oauth2-proxy") is None,
    reason="there is no oauth2-proxy, " + ("`make test` brings it" if shutil.which("go") else "and no go to build it"),
)
KEY = "a key of this registry, which nobody else has"
JOB = {"project_path": "team-a/lib", "ref_protected": "true"}


@dataclass
class World:
    """A registry, its verifier and two issuers, of which it knows one."""

    registry: Registry
    issuer: Issuer
    stranger: Issuer

    def exchange(self, identity: object) -> Response:
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"token": identity}).encode()
        return self.registry.gateway.request("POST", "/_/oidc/mint-token", data=body, headers=headers)

    def token(self, **claims: Any) -> str:  # noqa: ANN401
        answer = self.exchange(self.issuer.identity({**JOB, **claims}))
        assert answer.status_code == 200, answer.text
        made: str = answer.json()["token"]
        return made


@contextmanager
def world(
    directory: Path, *, verifier: str | None = None, key: str = KEY, tls: Authority | None = None
) -> Iterator[World]:
    issuer, stranger = Issuer(), Issuer()
    with issuer.serving(), stranger.serving(), verifying(directory, issuer) as url:
        publishers = [
            {"name": "team-a", "issuer": issuer.url, "claims": JOB, "projects": ["team-a-*"]},
            {"name": "team-b", "issuer": issuer.url, "claims": {"project_path": "team-b/lib"}, "projects": ["*"]},
        ]
        said = {"audience": AUDIENCE, "verifier": verifier or url, "publishers": publishers}
        (directory / "publishers.json").write_text(json.dumps(said))
        environment = {"TRUSTED_PUBLISHERS": str(directory / "publishers.json"), "AUDIT": "log"}
        if tls:
            (directory / "gateway/tls").mkdir(parents=True)
            put(directory / "gateway/tls", tls.issue())
        with registry(directory, Setup(trusted=True, tls=tls is not None), environment) as started:
            (started.server.credentials / "signing-key").write_text(key)
            yield World(started, issuer, stranger)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("trusted")) as made:
        yield made


def publish(found: Registry, wheel: Path, token: str) -> Response:
    body, kind = multipart(wheel)
    return found.gateway.request("POST", "/", USER, token, data=body, headers={"Content-Type": kind})


def logged(found: Registry, **wanted: object) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in found.server.log.splitlines() if line.startswith('{"audit"')]
    return [line for line in lines if wanted.items() <= line.items()]


def test_a_job_publishes_its_projects_and_no_other(shared: World, tmp_path: Path) -> None:
    token = shared.token()
    assert publish(shared.registry, make_wheel(tmp_path, "team_a_lib", "1.0"), token).ok
    refused = publish(shared.registry, make_wheel(tmp_path, "team_b_lib", "1.0"), token)
    assert refused.status_code == 403
    assert "token team-a has no right to publish team-b-lib" in refused.reason
    for path in ("/simple/", "/simple/team-a-lib/"):
        assert shared.registry.gateway.get(path, USER, token).status_code == 403
    (line,) = logged(shared.registry, audit="publish", outcome="done", file="team_a_lib-1.0-py3-none-any.whl")
    assert (line["user"], line["right"]) == (USER, "trusted:team-a")
    assert any(line["subject"] == "job" for line in logged(shared.registry, audit="exchange", right="trusted:team-a"))
    assert token not in shared.registry.server.log


def test_uv_does_it_all_in_a_job_of_gitlab(tmp_path: Path) -> None:
    """It asks over HTTPS alone."""
    authority = Authority(tmp_path)
    with world(tmp_path, tls=authority) as made:
        wheel, other = make_wheel(tmp_path, "team_a_uv", "1.0"), make_wheel(tmp_path, "other_uv", "1.0")
        job = {
            "GITLAB_CI": "true",
            "PYPI_EXAMPLE_ORG_ID_TOKEN": made.issuer.identity(JOB),
            "SSL_CERT_FILE": str(authority.path),
        }
        url = f"{made.registry.gateway.https_url}/"
        command = ("uv", "publish", "--no-cache", "--trusted-publishing", "always", "--publish-url", url)
        done = in_a_job(tmp_path, job, *command, str(wheel))
        assert done.returncode == 0, done.stdout
        assert (made.registry.server.packages / wheel.name).exists()
        refused = in_a_job(tmp_path, job, *command, str(other))
        assert refused.returncode != 0
        assert "has no right to publish other-uv" in refused.stdout
        nobody = in_a_job(
            tmp_path, {**job, "PYPI_EXAMPLE_ORG_ID_TOKEN": made.stranger.identity(JOB)}, *command, str(other)
        )
        assert nobody.returncode != 0
        assert "is no issuer of a trusted publisher" in nobody.stdout


def test_twine_with_the_token(shared: World, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "team_a_twine", "1.0")
    done = twine_upload(tmp_path, shared.registry.gateway.url, wheel, credentials=(USER, shared.token()))
    assert done.returncode == 0, done.stdout


def test_whom_identities_are_for(shared: World) -> None:
    assert shared.registry.gateway.get("/_/oidc/audience").json() == {"audience": AUDIENCE}


def test_a_token_lives_a_quarter_of_an_hour(shared: World) -> None:
    answer = shared.exchange(shared.issuer.identity(JOB))
    assert abs(answer.json()["expires"] - time.time() - LIFETIME_SECONDS) < 60
    assert answer.headers["Cache-Control"] == "no-store"


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"aud": "pypi"}, "aud 'pypi' is not 'pypi.example.org', the audience of this registry"),
        ({"aud": ["pypi", "testpypi"]}, "is not 'pypi.example.org'"),
        ({"aud": None}, "aud None is not"),
        ({"iss": None}, "iss None is no issuer of a trusted publisher"),
        ({"iss": "https://other.example.org"}, "iss 'https://other.example.org' is no issuer of a trusted publisher"),
        ({"exp": NOW - 3600}, "has passed; the clock here says"),
        ({"exp": None}, "exp None has passed"),
        ({"exp": "never"}, "exp 'never' has passed"),
        ({"iat": NOW + 3600, "nbf": NOW + 3600, "exp": NOW + 7200}, "has not come; the clock here says"),
        ({"nbf": NOW + 3600}, "The identity is not its issuer's: signature, issuer, audience or time"),
        ({"project_path": "team-a/lib2"}, "No trusted publisher of"),
        ({"project_path": None}, "has project_path None, ref_protected 'true'"),
        ({"project_path": ["team-a/lib"]}, "No trusted publisher of"),
        ({"ref_protected": "false"}, "has project_path 'team-a/lib', ref_protected 'false'"),
        ({"ref_protected": 1}, "No trusted publisher of"),
    ],
)
def test_other_identities_get_none(shared: World, claims: dict[str, Any], says: str) -> None:
    answer = shared.exchange(shared.issuer.identity({**JOB, **claims}))
    assert answer.status_code == 403
    assert says in answer.text
    assert logged(shared.registry, audit="exchange", outcome="refused", reason=answer.text.strip())


def test_a_claim_that_is_true_is_true_in_words(shared: World) -> None:
    assert shared.token(ref_protected=True)


def test_the_first_publisher_that_fits_counts(shared: World, tmp_path: Path) -> None:
    token = shared.token(project_path="team-b/lib")
    assert publish(shared.registry, make_wheel(tmp_path, "anything", "1.0"), token).ok


def test_an_identity_that_nobody_has_signed(shared: World) -> None:
    """By another key, by another issuer in the name of this one, by none at all, and changed afterwards."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = shared.issuer.identity(JOB)
    head, claims, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    changed = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed["project_path"] = "team-b/lib"
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    for identity in (
        shared.issuer.identity(JOB, key=other),
        shared.stranger.identity({**JOB, "iss": shared.issuer.url}),
        shared.issuer.identity(JOB, algorithm="HS256"),
        f"{none}.{claims}.",
        f"{none}.{claims}.{signature}",
        f"{head}.{forged}.{signature}",
        f"{head}.{claims}.{signature[:-8]}AAAAAAAA",
    ):
        answer = shared.exchange(identity)
        assert answer.status_code == 403, answer.text
        assert answer.text.startswith("The identity is not its issuer's")
    assert shared.exchange(good).ok


def test_another_issuer_vouches_for_nobody(shared: World) -> None:
    answer = shared.exchange(shared.stranger.identity(JOB))
    assert answer.status_code == 403
    assert "is no issuer of a trusted publisher" in answer.text


@pytest.mark.parametrize("identity", ["", "a.b", "a.b.c", "a.W10.c", "ä.ö.ü", None, 7, {}, "x" * 15_000])
def test_what_is_no_identity(shared: World, identity: object) -> None:
    assert shared.exchange(identity).status_code == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"{", b"\xff", b"[" * 10_000, b'"token"'])
def test_what_is_no_request(shared: World, body: bytes) -> None:
    answer = shared.registry.gateway.request("POST", "/_/oidc/mint-token", data=body)
    assert answer.status_code == 400
    assert 'must be JSON: {"token": "…"}' in answer.content.decode()


def test_what_is_too_long_and_other_methods(shared: World) -> None:
    assert shared.exchange("x" * 20_000).status_code == 413
    assert shared.registry.gateway.request("GET", "/_/oidc/mint-token").status_code == 405
    assert shared.registry.gateway.request("POST", "/_/oidc/audience").status_code == 405


def test_a_token_is_good_as_long_as_it_says_and_changed_for_nobody(shared: World, tmp_path: Path) -> None:
    token = shared.token()
    wheel = make_wheel(tmp_path, "team_a_forged", "1.0")
    prefix, name, end, signature = token.split("_")
    for forged in (
        f"{prefix}_team-b_{end}_{signature}",
        f"{prefix}_{name}_{int(end) + 1}_{signature}",
        f"{prefix}_{name}_{end}_{'0' * 64}",
    ):
        assert publish(shared.registry, wheel, forged).status_code == 401
    publishers = Publishers.from_file(shared.registry.server.directory.parent / "publishers.json")
    key = shared.registry.server.credentials / "signing-key"
    tokens = TrustedTokens(publishers, key, lambda: time.time() - LIFETIME_SECONDS - 1)
    old, _ = tokens.make(publishers.publishers[0])
    refused = publish(shared.registry, wheel, old)
    assert refused.status_code == 401
    assert refused.reason.startswith("The token has expired")


def test_the_keys_of_the_issuer_are_remembered_and_followed(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        for _ in range(5):
            assert made.token()
        asked = made.issuer.asked
        assert asked <= 2
        made.issuer.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        made.issuer.name = "second"
        assert made.token()
        assert made.issuer.asked == asked + 1


def test_while_nobody_verifies_there_is_no_token(tmp_path: Path) -> None:
    with world(tmp_path, verifier="http://127.0.0.1:1/auth") as made:
        answer = made.exchange(made.issuer.identity(JOB))
        assert answer.status_code == 503
        assert "Nobody can verify identities now" in answer.text


def test_a_key_that_is_changed_or_missing(tmp_path: Path) -> None:
    with world(tmp_path, key="too short") as made:
        answer = made.exchange(made.issuer.identity(JOB))
        assert answer.status_code == 503
        assert "no key to sign tokens with" in answer.text
        key = made.registry.server.credentials / "signing-key"
        key.write_text(KEY)
        token = made.token()
        key.write_text(KEY[::-1])
        assert publish(made.registry, make_wheel(tmp_path, "team_a_lib", "1.0"), token).status_code == 401
        wait_for(lambda: "no token can be made" in made.registry.server.log, "the log")
