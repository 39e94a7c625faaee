"""HTTPS at the pod: by the usual clients, from within the cluster, and with a renewed certificate."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, samples
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.clients import Account, Client
    from e2e.cluster import Registry

SECRET = "pypiserver-tls"
COMPONENT = cluster.ROOT / "dist/components/gateway-tls"
IN_CLUSTER = """\
import ssl, sys, urllib.request
context = ssl.create_default_context(cadata=sys.argv[2])
print(urllib.request.urlopen(sys.argv[1], context=context, timeout=10).status)
"""


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], issuer: str) -> Registry:
    """A registry that was there before it got a certificate."""
    registry = deploy("https", cluster.OVERLAYS / "local", accounts=True)
    certificate = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": cluster.NAME},
        "spec": {
            "secretName": SECRET,
            "dnsNames": ["localhost", service(registry)],
            "issuerRef": {"name": issuer, "kind": "ClusterIssuer"},
        },
    }
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(certificate))
    registry.components.append(COMPONENT)
    registry.apply()
    registry.wait_until_settled()
    return registry


def service(registry: Registry) -> str:
    """The name of the Service within the cluster."""
    return f"{cluster.NAME}.{registry.namespace}.svc"


def secret(registry: Registry, key: str) -> str:
    """One file of the certificate's Secret."""
    return base64.b64decode(registry.get("secret", SECRET)["data"][key]).decode()


@pytest.fixture(scope="module")
def connect(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Account | None], Client]:
    """Makes clients that trust the authority and no other."""
    authority: Path = tmp_path_factory.mktemp("authority") / "ca.crt"
    authority.write_text(secret(registry, "ca.crt"))
    forward = registry.forward("pod/" + registry.ready_pods()[0].name, 8443)
    url = f"https://localhost:{forward.port}/"
    eventually(lambda: cluster.answers(registry.client_at(url, None, authority=authority)), f"an answer of {url}", 60)
    return lambda account: registry.client_at(url, account, authority=authority)


def test_the_usual_clients(connect: Callable[[Account | None], Client], sample_directory: Path, tmp_path: Path) -> None:
    sample = samples.make(sample_directory, "https", size=10 * samples.MEBIBYTE)
    for publish in (connect(cluster.PUBLISHER).twine, connect(cluster.PUBLISHER).uv_publish):
        done = publish([sample.path])
        # What uv finds there already is no error to it.
        assert done.returncode == 0, done.stdout
    reader = connect(cluster.READER)
    for install in (reader.pip_install, reader.uv_install):
        target = tmp_path / install.__name__
        done = install([sample], target)
        assert done.returncode == 0, done.stdout
        assert sample.installed_whole(target)


def test_the_service_within_the_cluster(registry: Registry) -> None:
    authority = secret(registry, "ca.crt")
    arguments = (f"https://{service(registry)}/health", authority)
    command = ("exec", f"deployment/{cluster.NAME}", "--container", cluster.SERVER, "--", "python3", "-c", IN_CLUSTER)
    assert registry.kubectl(*command, *arguments).strip() == "200"


def test_the_plain_port_takes_no_password(registry: Registry) -> None:
    reader = registry.client(cluster.READER)
    answer = reader.get("simple/")
    assert (answer.status_code, answer.text) == (421, "This registry answers over HTTPS only.\n")


def test_a_renewed_certificate_needs_no_restart(
    registry: Registry, connect: Callable[[Account | None], Client], note: Callable[[str], None]
) -> None:
    port = int(connect(None).url.rpartition(":")[2].rstrip("/"))
    before, pods = secret(registry, "tls.crt"), registry.pods()
    registry.kubectl("delete", "secret", SECRET)

    def issued() -> bool:
        found = cluster.run("--namespace", registry.namespace, "get", "secret", SECRET)
        return found.returncode == 0 and secret(registry, "tls.crt") != before

    eventually(issued, "another certificate", 60)

    def served() -> str:
        # A port-forward that has seen a connection reset begins anew.
        with contextlib.suppress(OSError):
            return ssl.get_server_certificate(("127.0.0.1", port)).strip()
        return "nothing"

    renewed = secret(registry, "tls.crt")
    begun = time.monotonic()
    eventually(lambda: renewed.startswith(served()), "the renewed certificate to be served", 180, 0.5)
    note(f"the renewed certificate was served {time.monotonic() - begun:.0f} s after it was issued")
    reader = connect(cluster.READER)
    eventually(lambda: cluster.answers(reader), "an answer over the renewed certificate")
    assert reader.get("simple/").ok
    assert registry.pods() == pods
