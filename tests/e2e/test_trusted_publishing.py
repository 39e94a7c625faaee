"""Trusted publishing by service accounts: the cluster is the issuer, and oauth2-proxy verifies by the cluster's keys.

The registry is on this machine; oauth2-proxy runs in a pod, as the example has it, and once beside the registry.
"""

from __future__ import annotations

import base64
import json
import os
import runpy
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cdk8s_pypiserver.base import images
from certificates import Authority, put
from documents import blocks
from e2e import cluster
from e2e.waiting import eventually
from gateway_programs import Registry, Setup, make_wheel, registry, twine_upload
from identities import AUDIENCE, in_a_job, verifier
from manifests import ROOT, pod_of
from programs import PATIENCE, installed
from server.access.token_lines import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifests import Manifest

pytestmark = pytest.mark.skipif(
    installed("oauth2-proxy") is None, reason="there is no oauth2-proxy, and no go to build it"
)
NAMESPACE = "e2e-trusted-publishing"
HERE = ("--namespace", NAMESPACE)
BINDING = "e2e-service-account-keys"
KEY = "a key of this registry, which nobody else has"
PORT = 4180
"""Where the example has oauth2-proxy listen."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """Two service accounts."""
    cluster.remove_namespace(NAMESPACE)
    cluster.run("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=100s")
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("label", "namespace", NAMESPACE, f"{cluster.OURS}=e2e")
    for name in ("publisher", "other"):
        cluster.kubectl(*HERE, "create", "serviceaccount", name)
    yield NAMESPACE
    cluster.run("delete", "clusterrolebinding", BINDING)
    cluster.remove_namespace(NAMESPACE)


@pytest.fixture(scope="module")
def issuer() -> str:
    """What the cluster calls itself."""
    found: str = json.loads(cluster.kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    return found


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The pod of the example."""
    directory = tmp_path_factory.mktemp("example")
    before = Path.cwd()
    os.chdir(directory)
    try:
        runpy.run_path(str(ROOT / "examples/service_accounts/app.py"))
    finally:
        os.chdir(before)
    files = sorted((directory / "dist/registry").glob("*.*.yaml"))
    manifests: list[Manifest] = [yaml.safe_load(file.read_text()) for file in files]
    return pod_of(manifests)


def identity(account: str, *options: str) -> str:
    """A token of a service account."""
    return cluster.kubectl(*HERE, "create", "token", account, *(options or (f"--audience={AUDIENCE}",))).strip()


@dataclass
class World:
    """A registry, and the authority by whose certificate it is known."""

    registry: Registry
    authority: Authority

    @property
    def url(self) -> str:
        return self.registry.gateway.https_url

    def exchange(self, presented: str) -> requests.Response:
        address = f"{self.url}/_/oidc/mint-token"
        return requests.post(address, json={"token": presented}, verify=str(self.authority.path), timeout=PATIENCE)


@contextmanager
def world(directory: Path, issuer: str, verified_at: str, **environment: str) -> Iterator[World]:
    authority = Authority(directory)
    publisher = {
        "name": "team-a",
        "issuer": issuer,
        "claims": {"sub": f"system:serviceaccount:{NAMESPACE}:publisher"},
        "projects": ["team-a-*"],
    }
    said = {"audience": AUDIENCE, "verifier": verified_at, "publishers": [publisher]}
    (directory / "publishers.json").write_text(json.dumps(said))
    environment = {"TRUSTED_PUBLISHERS": str(directory / "publishers.json"), "AUDIT": "log", **environment}
    (directory / "gateway/tls").mkdir(parents=True)
    put(directory / "gateway/tls", authority.issue())
    with registry(directory, Setup(trusted=True, tls=True), environment) as started:
        (started.server.credentials / "signing-key").write_text(KEY)
        yield World(started, authority)


def start_verifier(pod: dict[str, Any]) -> None:
    """Start the container `identities` of a pod in a pod of its own, with the program that is on this machine."""
    (container,) = (each for each in pod["containers"] if each["name"] == "identities")
    program = "/program/oauth2-proxy"
    wait = f'until [ -e {program}.whole ]; do sleep 0.2; done; exec {program} "$@"'
    container = {
        **container,
        "image": images.SERVER,
        "command": ["sh", "-c", wait, "oauth2-proxy"],
        "volumeMounts": [*container["volumeMounts"], {"name": "program", "mountPath": "/program"}],
    }
    volumes = [each for each in pod["volumes"] if each["name"] == "cluster"]
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "verifier"},
        "spec": {
            "containers": [container],
            "volumes": [*volumes, {"name": "program", "emptyDir": {}}],
            # As in the registry's pods: none of it needs a token of its own.
            "automountServiceAccountToken": False,
            "securityContext": pod["securityContext"],
            "terminationGracePeriodSeconds": 0,
        },
    }
    cluster.kubectl(*HERE, "apply", "--filename", "-", stdin=json.dumps(manifest))
    cluster.kubectl(*HERE, "wait", "--for=condition=Ready", "pod/verifier", "--timeout=100s")
    cluster.kubectl(*HERE, "cp", str(installed("oauth2-proxy")), f"verifier:{program}")
    cluster.kubectl(*HERE, "exec", "verifier", "--", "touch", f"{program}.whole")


@pytest.fixture(scope="module")
def shared(
    namespace: str, issuer: str, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A registry whose verifier is in the cluster."""
    (container,) = (each for each in example["containers"] if each["name"] == "identities")
    if f"--oidc-issuer-url={issuer}" not in container["args"]:
        pytest.skip(f"the cluster calls itself {issuer}, and the example's does not")
    role = "--clusterrole=system:service-account-issuer-discovery"
    cluster.run("delete", "clusterrolebinding", BINDING)
    cluster.kubectl("create", "clusterrolebinding", BINDING, role, "--group=system:unauthenticated")
    start_verifier(example)
    assert namespace == NAMESPACE
    forward = cluster.Forward(NAMESPACE, "pod/verifier", PORT)
    url = f"http://127.0.0.1:{forward.port}/oauth2/auth"
    with ExitStack() as stack:
        stack.callback(forward.close)
        eventually(lambda: status(url) == 401, url)
        if status(url, identity("publisher")) == 401:
            pytest.skip("the API server shows its keys to nobody who is not logged in")
        yield stack.enter_context(world(tmp_path_factory.mktemp("trusted"), issuer, url))


def status(url: str, presented: str = "") -> int:
    headers = {"Authorization": f"Bearer {presented}"} if presented else {}
    try:
        return requests.get(url, headers=headers, timeout=PATIENCE).status_code
    except requests.ConnectionError:
        return 0


def published(found: World) -> set[str]:
    return {path.name for path in found.registry.server.packages.glob("*.whl")}


def test_the_commands_of_the_document(shared: World, issuer: str, tmp_path: Path) -> None:
    texts = [text for kind, text in blocks(ROOT / "docs/trusted-publishing.md") if kind == "bash service-accounts"]
    cluster.run("delete", "clusterrolebinding", BINDING)
    for name in ("twine", "uv"):
        (tmp_path / name).mkdir()
        make_wheel(tmp_path / name, f"team_a_{name}", "1.0")
    script = "set -eux\n" + "\n".join(texts)
    for written, meant in (
        ("service-account-keys", BINDING),
        ("kubectl -n team-a create serviceaccount publisher\n", ""),
        ("-n team-a", f"-n {NAMESPACE}"),
        ("https://pypi.example.org/", f"{shared.url}/"),
        ("twine/*", f"{tmp_path}/twine/*"),
        ("uv/*", f"{tmp_path}/uv/*"),
    ):
        assert written in script
        script = script.replace(written, meant)
    trusting = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(shared.authority.path))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "UV_NO_CONFIG": "1", **trusting}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{issuer}\n")
    assert {f"team_a_{name}-1.0-py3-none-any.whl" for name in ("twine", "uv")} <= published(shared)


def test_uv_publishes_its_projects_and_no_other(shared: World, tmp_path: Path) -> None:
    own, other = make_wheel(tmp_path, "team_a_job", "1.0"), make_wheel(tmp_path, "team_b_job", "1.0")
    # A cluster is none of the places that uv knows; GitLab's way is a variable with the identity.
    job = {
        "GITLAB_CI": "true",
        "PYPI_EXAMPLE_ORG_ID_TOKEN": identity("publisher"),
        "SSL_CERT_FILE": str(shared.authority.path),
    }
    command = ("uv", "publish", "--no-cache", "--trusted-publishing", "always", "--publish-url", f"{shared.url}/")
    done = in_a_job(tmp_path, job, *command, str(own))
    assert done.returncode == 0, done.stdout
    assert own.name in published(shared)
    refused = in_a_job(tmp_path, job, *command, str(other))
    assert refused.returncode != 0
    assert "has no right to publish team-b-job" in refused.stdout
    nobody = in_a_job(tmp_path, {**job, "PYPI_EXAMPLE_ORG_ID_TOKEN": identity("other")}, *command, str(own))
    assert nobody.returncode != 0
    assert "No trusted publisher of" in nobody.stdout


def test_the_trail_names_the_account(shared: World) -> None:
    assert shared.exchange(identity("publisher")).ok
    lines = [json.loads(line) for line in shared.registry.server.log.splitlines() if line.startswith('{"audit"')]
    subjects = [line["subject"] for line in lines if line["audit"] == "exchange" and line["outcome"] == "done"]
    assert set(subjects) == {f"system:serviceaccount:{NAMESPACE}:publisher"}


def test_other_identities_of_the_cluster_get_none(shared: World) -> None:
    good = identity("publisher")
    head, claims, signature = good.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    said["sub"] = f"system:serviceaccount:{NAMESPACE}:publisher"
    said["exp"] += 1
    forged = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    for presented, says in (
        (identity("other"), f"has sub 'system:serviceaccount:{NAMESPACE}:other'"),
        (identity("publisher", "--audience=pypi"), "aud ['pypi'] is not 'pypi.example.org'"),
        # As it is mounted into every pod.
        (identity("publisher", "--duration=1h"), "is not 'pypi.example.org', the audience of this registry"),
        (f"{head}.{forged}.{signature}", "The identity is not its issuer's"),
        (f"{head}.{claims}.{signature[:-8]}AAAAAAAA", "The identity is not its issuer's"),
    ):
        answer = shared.exchange(presented)
        assert answer.status_code == 403, answer.text
        assert says in answer.text
    assert shared.exchange(good).ok


def test_an_identity_that_has_ended_gets_none(shared: World, issuer: str, tmp_path: Path) -> None:
    """None lives less than ten minutes: it is the registry's clock that is an hour ahead."""
    ahead = tmp_path / "ahead"
    ahead.mkdir()
    (ahead / "sitecustomize.py").write_text("import time\nreal = time.time\ntime.time = lambda: real() + 3600\n")
    verified_at = json.loads((shared.registry.server.directory.parent / "publishers.json").read_text())["verifier"]
    with world(tmp_path, issuer, verified_at, PYTHONPATH=str(ahead)) as later:
        answer = later.exchange(identity("publisher"))
        assert answer.status_code == 403
        assert "has passed; the clock here says" in answer.text
        made = identity("publisher", f"--audience={AUDIENCE}", "--duration=2h")
        assert later.exchange(made).ok


def test_with_the_keys_in_files_nobody_asks_the_cluster(
    namespace: str, issuer: str, example: dict[str, Any], tmp_path: Path
) -> None:
    assert namespace == NAMESPACE
    (container,) = (each for each in example["containers"] if each["name"] == "identities")
    asking = ("--http-address", "--oidc-jwks-url", "--provider-ca-file", "--oidc-issuer-url")
    arguments = [each for each in container["args"] if each.partition("=")[0] not in asking]
    arguments.append(f"--oidc-issuer-url={issuer}")
    for number, key in enumerate(json.loads(cluster.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]):
        (tmp_path / f"{number}.pem").write_bytes(public_key(key))
        arguments.append(f"--oidc-public-key-file={tmp_path / f'{number}.pem'}")
    begun = time.time()
    with verifier(tmp_path, arguments) as url, world(tmp_path, issuer, url) as made:
        answer = made.exchange(identity("publisher"))
        assert answer.ok, answer.text
        assert answer.json()["expires"] > begun
        credentials = (USER, answer.json()["token"])
        wheel = make_wheel(tmp_path, "team_a_file", "1.0")
        options = ("--cert", str(made.authority.path))
        done = twine_upload(tmp_path, made.url, wheel, options=options, credentials=credentials)
        assert done.returncode == 0, done.stdout
        head, claims, _ = identity("publisher").split(".")
        assert made.exchange(f"{head}.{claims}.{identity('other').split('.')[2]}").status_code == 403


def public_key(jwk: dict[str, str]) -> bytes:
    """A key of a set (RFC 7517) as PEM."""
    exponent, modulus = (int.from_bytes(base64.urlsafe_b64decode(f"{jwk[name]}=="), "big") for name in ("e", "n"))
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
