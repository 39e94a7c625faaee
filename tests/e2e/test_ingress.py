"""The overlays with an Ingress, over HTTPS with the certificate that was issued, as users reach them."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest
import requests

from e2e import cluster, samples
from e2e.clients import Account
from e2e.ingress import proxy_to
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.clients import Client
    from e2e.cluster import Forward, Registry

SECRET = "pypiserver-tls"
PATHS = {"ha": "/team-a/pypi", "hetzner-s3": "/"}
"""Below which path each overlay is reached."""


@pytest.fixture(scope="module")
def controller() -> Iterator[dict[int, Forward]]:
    """Ports of this machine that lead to the ports 443 and 80 of the ingress controller."""
    namespace, _, name = os.environ.get("E2E_INGRESS_SERVICE", "lab-ingress/traefik").partition("/")
    if not cluster.exists("--namespace", namespace, "service", name):
        pytest.skip(f"E2E_INGRESS_SERVICE names no Service, and there is no {namespace}/{name}")
    forwards = {port: cluster.Forward(namespace, f"service/{name}", port) for port in (443, 80)}
    yield forwards
    for forward in forwards.values():
        forward.close()


@pytest.fixture(scope="module")
def proxy(controller: dict[int, Forward]) -> Iterator[str]:
    """A proxy that leads to the ingress controller."""
    with proxy_to(controller[443].port) as url:
        yield url


@pytest.fixture(scope="module", params=PATHS)
def overlay(request: pytest.FixtureRequest) -> str:
    """The name of an overlay with an Ingress."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def registry(
    overlay: str,
    deploy: Callable[..., Registry],
    shared_class: str,
    issuer: str,
    controller: dict[int, Forward],
) -> Registry:
    """A registry, for which each test chooses the host and the class of its Ingress."""
    del issuer, controller  # if one is missing there is nothing to deploy
    volume = cluster.without_bucket(shared_class) if overlay == "hetzner-s3" else [cluster.storage(shared_class)]
    patches = [*volume, cluster.setting("PATH_PREFIX", PATHS[overlay], cluster.GATEWAY)]
    return deploy(f"ingress-{overlay}", cluster.OVERLAYS / overlay, patches, accounts=True)


@pytest.fixture(scope="module", params=["nginx", "traefik"])
def host(request: pytest.FixtureRequest, registry: Registry, overlay: str, issuer: str) -> Iterator[str]:
    """The name under which a controller of this class serves the registry."""
    if not cluster.exists("ingressclass", request.param):
        pytest.skip(f"the cluster has no IngressClass {request.param}")
    name = f"{registry.namespace}.{request.param}.example"
    registry.kubectl("delete", "secret", SECRET, "--ignore-not-found")
    exposure = cluster.exposure(name, request.param, issuer, PATHS[overlay])
    registry.patches.append(exposure)
    registry.apply()
    yield name
    registry.patches.remove(exposure)


@pytest.fixture(scope="module")
def authority(registry: Registry, host: str, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The authority that has signed the certificate of the host; None if it is one that everybody trusts."""

    def issued() -> dict[str, str]:
        done = cluster.run("--namespace", registry.namespace, "get", "secret", SECRET, "--output", "json")
        if done.returncode:
            return {}
        data: dict[str, str] = registry.get("secret", SECRET)["data"]
        return data if data.get("tls.crt") else {}

    encoded = eventually(issued, f"the certificate of {host}", 180, 0.5).get("ca.crt")
    if not encoded:
        return None
    path = tmp_path_factory.mktemp("authority") / "ca.crt"
    path.write_bytes(base64.b64decode(encoded))
    return path


@pytest.fixture(scope="module")
def connect(
    registry: Registry, host: str, overlay: str, authority: Path | None, proxy: str
) -> Callable[[Account | None], Client]:
    """Makes clients that come through the ingress controller, which serves the host."""

    def make(account: Account | None) -> Client:
        url = f"https://{host}{PATHS[overlay].rstrip('/')}/"
        return registry.client_at(url, account, proxy=proxy, authority=authority)

    # The controller's own certificate is refused until it has that of the host.
    eventually(lambda: cluster.answers(make(None)), f"an answer of https://{host}/", 90, 0.5)
    return make


def test_passwords(connect: Callable[[Account | None], Client]) -> None:
    """Nobody is let in with a wrong password, and readers do not publish."""
    for stranger in (connect(None), connect(Account(user=cluster.READER.user, password="wrong"))):
        for answer in (stranger.get("simple/"), stranger.upload("intruder-1.0.tar.gz", b"anything")):
            assert answer.status_code == requests.codes.unauthorized
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
    reader = connect(cluster.READER)
    assert reader.get("simple/").ok
    assert reader.upload("by_reader-1.0.tar.gz", b"anything").status_code == requests.codes.forbidden


def test_a_large_wheel(
    connect: Callable[[Account | None], Client], registry: Registry, host: str, sample_directory: Path, tmp_path: Path
) -> None:
    """The usual clients publish and install a wheel of 100 MB through the controller."""
    sample = samples.make(sample_directory, host, size=100 * samples.MEBIBYTE)
    done = connect(cluster.PUBLISHER).twine([sample.path])
    assert done.returncode == 0, done.stdout
    reader = connect(cluster.READER)
    needed = 5 * len(registry.wait_until_settled())
    seen = 0

    def on_every_pod() -> bool:
        nonlocal seen
        # Several times in a row for each pod, since nobody can say which one answers.
        seen = seen + 1 if reader.lists(sample.normalised, sample.path.name) else 0
        return seen >= needed

    eventually(on_every_pod, "the upload in the index of every pod", 30, 0.05)
    for install in (reader.pip_install, reader.uv_install):
        target = tmp_path / install.__name__
        done = install([sample], target)
        assert done.returncode == 0, done.stdout
        assert sample.installed_whole(target)


def test_redirects_stay_below_the_path(connect: Callable[[Account | None], Client]) -> None:
    """What the gateway redirects leads through the controller again."""
    reader = connect(cluster.READER)
    for path, location in (
        ("simple", "simple/"),
        ("packages", "packages/"),
        ("simple/Absent_Project/", "simple/absent-project/"),
    ):
        answer = reader.get(path)
        assert answer.history
        assert answer.url == f"{reader.url}{location}"


def test_plain_http(host: str, controller: dict[int, Forward], note: Callable[[str], None]) -> None:
    """What the controller does with plain HTTP is its own affair, so it is measured only."""
    answer = requests.get(
        f"http://127.0.0.1:{controller[80].port}/simple/",
        headers={"Host": host},
        auth=(cluster.READER.user, cluster.READER.password),
        allow_redirects=False,
        timeout=30,
    )
    note(f"answered {answer.status_code} {answer.headers.get('Location', '')}")
