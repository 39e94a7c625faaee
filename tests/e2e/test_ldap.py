"""The component `ldap`: users of a directory that runs in the cluster, its groups, its outages, and what floods it."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests

from cdk8s_pypiserver.base import images
from documents import blocks
from e2e import cluster, samples
from e2e.clients import Account
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster import Registry

COMPONENT = cluster.ROOT / "dist/components/ldap"
PERMISSIONS = cluster.ROOT / "dist/components/permissions"
LDAP = "ldap"
ALICE, BOB, MALLORY = (Account(user=name, password=f"{name}-secret") for name in ("alice", "bob", "mallory"))
ROBOT = Account(user="ci", password="a robot's p@ss:word")
SECONDS = 10
"""How long an answer of the directory counts here."""
NOTICED = 90
"""Seconds until a pod has what a Secret or ConfigMap says: the kubelet refreshes volumes every minute or so."""


@dataclass(frozen=True)
class Directory:
    """The directory: a Deployment and a Service of this name in this namespace, and whom its users bind as."""

    namespace: str
    name: str

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.cluster.local"

    def certificates(self) -> str:
        found: str = cluster.get("--namespace", self.namespace, "configmap", "ldap-ca")["data"]["ca.crt"]
        return found

    def scale(self, replicas: int) -> None:
        here = ("--namespace", self.namespace)
        cluster.kubectl(*here, "scale", f"deployment/{self.name}", f"--replicas={replicas}")
        if replicas:
            cluster.kubectl(*here, "rollout", "status", f"deployment/{self.name}", "--timeout=60s")
        else:
            cluster.kubectl(*here, "wait", "--for=delete", "pod", f"--selector=app={self.name}", "--timeout=60s")

    def modify(self, ldif: str) -> None:
        """Change entries, as its administrator."""
        cluster.kubectl(
            *("--namespace", self.namespace, "exec", "--stdin", f"deployment/{self.name}", "--"),
            *("ldapmodify", "-x", "-H", "ldap://localhost", "-D", "cn=admin,dc=example,dc=org", "-w", "admin-secret"),
            stdin=ldif,
        )

    def membership(self, operation: str, user: str, group: str) -> None:
        """`add` a user to a group, or `delete` it."""
        self.modify(
            f"dn: cn={group},ou=groups,dc=example,dc=org\nchangetype: modify\n{operation}: member\n"
            f"member: uid={user},ou=people,dc=example,dc=org\n"
        )

    def binds(self, user: str, since: float) -> int:
        """How often somebody tried a password of a user in the last seconds."""
        seconds = int(time.time() - since) + 1
        log = cluster.kubectl(
            "--namespace", self.namespace, "logs", f"deployment/{self.name}", f"--since={seconds}s", seconds=60
        )
        return len(re.findall(rf'BIND dn="uid={user},ou=people,dc=example,dc=org" method=', log))


@pytest.fixture(scope="module")
def directory() -> Iterator[Directory]:
    """The directory."""
    named = os.environ.get("E2E_LDAP", "lab-ldap/ldap")
    namespace, _, name = named.partition("/")
    if not cluster.exists("--namespace", namespace, "deployment", name):
        pytest.skip(f"E2E_LDAP names no directory, and there is none called {named}")
    found = Directory(namespace, name)
    # It starts anew from its users, whatever an earlier run did to them.
    found.scale(0)
    found.scale(1)
    yield found
    found.scale(1)


def setting(name: str, value: str) -> cluster.Patch:
    return cluster.setting(name, value, LDAP)


def prepare(registry: Registry, directory: Directory, place: Path) -> None:
    """Make what the document says, and a robot."""
    (place / "ca.crt").write_text(directory.certificates())
    (commands,) = (text for kind, text in blocks(cluster.ROOT / "docs/ldap.md") if kind == "bash ldap")
    subprocess.run(
        ["bash", "-euc", commands.replace("-n pypiserver", f"-n {registry.namespace}")],
        check=True,
        cwd=place,
        env={**os.environ, "BIND_PASSWORD": "bind-secret"},
    )
    content = {"stringData": {"publishers": cluster.htpasswd(ROBOT)}}
    robots = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pypiserver-auth"}, **content}
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(robots))


def rotate(registry: Registry, password: str) -> None:
    """Give the account that searches another password."""
    change = json.dumps({"stringData": {"password": password}})
    registry.kubectl("patch", "secret", "pypiserver-ldap", "--patch", change)


@pytest.fixture(scope="module")
def registry(
    deploy: Callable[..., Registry], directory: Directory, tmp_path_factory: pytest.TempPathFactory
) -> Registry:
    registry = deploy("ldap", cluster.OVERLAYS / "local", basic(directory), components=[COMPONENT], settled=False)
    prepare(registry, directory, tmp_path_factory.mktemp("ldap"))
    registry.wait_until_settled()
    return registry


def basic(directory: Directory) -> list[cluster.Patch]:
    return [setting("LDAP_SERVERS", directory.host), cluster.setting("DIRECTORY_SECONDS", str(SECONDS))]


def change(registry: Registry, directory: Directory, **settings: str) -> None:
    """Deploy the registry with these settings of the container, in the place of earlier ones."""
    registry.patches = [*basic(directory), *(setting(name, value) for name, value in settings.items())]
    registry.close()
    registry.apply()
    registry.wait_until_settled()


@pytest.fixture(scope="module")
def copied(registry: Registry, directory: Directory) -> Directory:
    """A directory of the same users in the registry's namespace: for its host name there is no certificate, and its
    users may search below where users are."""
    rule = "access to * by dn.exact"
    for kind, name in (("configmap", "slapd"), ("secret", "ldap-tls"), ("service", "ldap"), ("deployment", "ldap")):
        found = cluster.get("--namespace", directory.namespace, kind, name)
        found["metadata"] = {"name": found["metadata"]["name"]}
        if kind == "configmap":
            text = found["data"]["slapd.conf"]
            assert rule in text
            more = 'access to dn.base="ou=people,dc=example,dc=org" by users search by * none'
            found["data"]["slapd.conf"] = text.replace(rule, f"{more}\n{rule}")
        if kind == "service":
            found["spec"] = {key: found["spec"][key] for key in ("selector", "ports")}
        registry.kubectl("apply", "--filename", "-", stdin=json.dumps(found))
    registry.kubectl("rollout", "status", "deployment/ldap", "--timeout=60s")
    return Directory(registry.namespace, "ldap")


def status(registry: Registry, account: Account, path: str = "simple/") -> int:
    return registry.client(account).get(path).status_code


def told(registry: Registry, text: str) -> None:
    """Wait for what the server says in its log when Alice comes.

    It says so once. Kubelets that share a disk clear each other's logs away every minute: then another server says it.
    """

    def said() -> bool:
        status(registry, ALICE)
        return text in registry.logs()

    for _ in range(3):
        with suppress(AssertionError):
            eventually(said, "a line about it", 20, 0.5)
            return
        registry.close()
        registry.kubectl("rollout", "restart", f"deployment/{cluster.NAME}")
        registry.wait_until_settled()
    raise AssertionError(f"no log has {text!r}; the last one:\n{registry.logs()}")


def figure(registry: Registry, name: str) -> float:
    """A figure of the server's page of metrics."""
    page = registry.exec("wget -q -Y off -O - http://127.0.0.1:8081/-/metrics")
    found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", page, re.MULTILINE)
    return float(found[1]) if found else -1.0


def answered(registry: Registry, account: Account, expected: int, seconds: float = 60) -> float:
    """Wait for an answer, and return how long that took."""
    client, begun = registry.client(account), time.monotonic()

    def is_so() -> bool:
        found = client.get("simple/").status_code
        assert found == expected, f"{account.user}: {found} in the place of {expected}"
        return True

    eventually(is_so, f"{expected} for {account.user}", seconds, 0.2)
    return time.monotonic() - begun


def test_who_may_do_what(registry: Registry, sample_directory: Path) -> None:
    answered(registry, ALICE, 200)
    wheel = samples.make(sample_directory, "directory-demo")
    published = registry.client(ALICE).twine([wheel.path])
    assert published.returncode == 0, published.stdout
    reader = registry.client(BOB)
    assert reader.get("simple/").status_code == 200
    assert reader.pip_install([wheel], sample_directory / "bob").returncode == 0
    refused = reader.twine([samples.make(sample_directory, "directory-other").path])
    assert refused.returncode != 0
    assert "This user may not publish or remove" in " ".join(refused.stdout.split())
    for path in ("simple/", "simple/directory-demo/", f"packages/{wheel.path.name}"):
        found = registry.client(MALLORY).get(path)
        assert (found.status_code, found.text) == (403, "This user may not read.\n"), path
    wrong = registry.client(Account(user="alice", password="wrong")).get("simple/")
    assert wrong.status_code == 401
    assert wrong.headers["WWW-Authenticate"].startswith("Basic")
    assert status(registry, ROBOT) == 200


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("*", "alice-secret"),
        ("ali*", "alice-secret"),
        ("alice)(uid=*", "alice-secret"),
        ("alice\\2a", "alice-secret"),
        ("alice\0", "alice-secret"),
        ("alice\n", "alice-secret"),
        ("alice", "alice-secret\0more"),
        ("alice", "alice-secret\n"),
        ("alice", ""),
        ("", ""),
        ("uid=alice,ou=people,dc=example,dc=org", "alice-secret"),
        ("cn=pypi,ou=services,dc=example,dc=org", "bind-secret"),
        ("al\u00adice", "alice-secret"),
    ],
)
def test_no_name_or_password_means_another(registry: Registry, user: str, password: str) -> None:
    assert status(registry, Account(user=user, password=password)) == 401


def test_a_wrong_password_is_tried_once(registry: Registry) -> None:
    # A registry that has just begun may not have reached the directory yet.
    answered(registry, ALICE, 200)
    refused = 'pypiserver_directory_questions_total{result="refused"}'
    before = figure(registry, refused)
    wrong = registry.client(Account(user="bob", password=f"wrong-{time.time()}"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = {answer.status_code for answer in pool.map(wrong.get, ["simple/"] * 40)}
    assert found == {401}
    assert wrong.upload("mine-1.0.tar.gz", b"").status_code == 401
    # Not the directory's own log: a node may turn it over or lose it.
    assert figure(registry, refused) - before == 1


def test_a_flood_reaches_the_directory_at_a_bounded_rate_and_keeps_nobody_out(
    registry: Registry, directory: Directory, note: Callable[[str], None]
) -> None:
    answered(registry, ALICE, 200)
    before = figure(registry, 'pypiserver_directory_questions_total{result="refused"}')
    url = registry.client(None).url
    begun, seconds = time.time(), 12
    tried = 0

    def guess(number: int) -> int:
        made, end = 0, begun + seconds
        with requests.Session() as session:
            while time.time() < end:
                # Every name once, and alice time and again.
                user = "alice" if made % 2 else f"user-{number}-{made}"
                session.get(f"{url}simple/", auth=(user, f"guess-{number}-{made}"), timeout=30)
                made += 1
        return made

    waits = []
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        guessing = [pool.submit(guess, number) for number in range(15)]
        while time.time() < begun + seconds:
            asked = time.monotonic()
            assert status(registry, ALICE) == 200
            assert status(registry, BOB) == 200
            assert status(registry, ROBOT) == 200
            waits.append(time.monotonic() - asked)
        tried = sum(each.result() for each in guessing)
    reached = figure(registry, 'pypiserver_directory_questions_total{result="refused"}') - before
    note(
        f"{tried} wrong passwords in {seconds} s: {reached:g} reached the directory; "
        f"three users waited {max(waits) * 1000:.0f} ms at most"
    )
    # The first of the client, and five a second from then on.
    assert reached <= 11 + 5 * (seconds + 2)
    assert directory.binds("alice", begun) <= 4 + 2 * seconds / SECONDS + 2


def test_a_revoked_group_counts_within_the_time_to_live(
    registry: Registry, directory: Directory, note: Callable[[str], None]
) -> None:
    answered(registry, BOB, 200)
    directory.membership("delete", "bob", "pypi-readers")
    took = answered(registry, BOB, 403, SECONDS + 5)
    directory.membership("add", "bob", "pypi-readers")
    note(f"revoked after {took:.1f} s of {SECONDS}")
    assert took <= SECONDS + 1
    answered(registry, BOB, 200, SECONDS + 5)


def test_while_it_is_away_what_is_known_counts_and_no_longer(
    registry: Registry, directory: Directory, note: Callable[[str], None]
) -> None:
    answered(registry, ALICE, 200)
    # So that nothing of them is left from before.
    time.sleep(SECONDS)
    assert status(registry, ALICE) == 200
    known = time.monotonic()
    directory.scale(0)
    try:
        if time.monotonic() - known < SECONDS - 2:
            assert status(registry, ALICE) == 200
        took = answered(registry, ALICE, 503, SECONDS + 15)
        away = registry.client(ALICE).get("simple/")
        assert away.headers["Retry-After"] == "5"
        assert away.text == "The directory of users does not answer; try again.\n"
        assert status(registry, Account(user="alice", password="wrong")) == 503
        upload = registry.client(ALICE).upload("mine-1.0.tar.gz", b"")
        assert (upload.status_code, upload.reason) == (503, "The directory of users does not answer; try again")
        assert status(registry, ROBOT) == 200
        eventually(lambda: figure(registry, "pypiserver_directory_up") == 0, "the gauge", 40, 1)
        assert all(pod.ready for pod in registry.pods())
    finally:
        directory.scale(1)
    back = answered(registry, ALICE, 200, 60)
    note(f"503 after {took:.1f} s, 200 again {back:.1f} s after it was back")
    eventually(lambda: figure(registry, "pypiserver_directory_up") == 1, "the gauge", 40, 1)


def test_a_wrong_account_is_no_wrong_password_and_a_right_one_needs_no_restart(registry: Registry) -> None:
    pods = registry.pods()
    rotate(registry, "no longer")
    answered(registry, ALICE, 503, NOTICED + SECONDS)
    assert status(registry, Account(user="alice", password="wrong again")) == 503
    rotate(registry, "bind-secret")
    answered(registry, ALICE, 200, NOTICED)
    assert registry.pods() == pods


def test_a_server_that_hangs_beside_one_that_answers(
    registry: Registry, directory: Directory, note: Callable[[str], None]
) -> None:
    """It accepts connections and says nothing, as one does that is stopped."""
    program = (
        "import socket\nlistening = socket.create_server(('', 6636), backlog=500)\nkept = []\n"
        "while True: kept.append(listening.accept())"
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "silent", "labels": {"app": "silent"}},
        "spec": {
            "containers": [
                {
                    "name": "silent",
                    "image": images.SERVER,
                    "command": ["python3", "-c", program],
                    "securityContext": cluster.RESTRICTED,
                }
            ],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 9898, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 0,
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "silent"},
        "spec": {"selector": {"app": "silent"}, "ports": [{"port": 636, "targetPort": 6636}]},
    }
    for each in (pod, service):
        registry.kubectl("apply", "--filename", "-", stdin=json.dumps(each))
    registry.kubectl("wait", "--for=condition=Ready", "pod/silent", "--timeout=60s")
    silent = f"silent.{registry.namespace}.svc.cluster.local"
    change(registry, directory, LDAP_SERVERS=f"{silent} {directory.host}")
    waits = []
    for account, expected in ((ALICE, 200), (BOB, 200), (MALLORY, 403), (ALICE, 200), (BOB, 200)):
        client = registry.client(account)
        begun = time.monotonic()
        assert client.get("simple/").status_code == expected
        waits.append(time.monotonic() - begun)
    note(f"answers after {', '.join(f'{wait:.2f}' for wait in waits)} s")
    assert max(waits) < 9


def test_certificates_that_do_not_match_let_nobody_in(registry: Registry, copied: Directory) -> None:
    change(registry, copied)
    assert status(registry, ALICE) == 503
    assert status(registry, ROBOT) == 200
    told(registry, "its certificate is not from /etc/pypiserver/ldap-ca/ca.crt or not for its name")


def test_users_who_bind_by_themselves(registry: Registry, copied: Directory) -> None:
    """And see nothing but themselves, with the groups that they are in."""
    template = "uid=$1,ou=people,dc=example,dc=org"
    own = {"LDAP_SECURITY": "none", "LDAP_MEMBERSHIP": "memberOf"}
    change(registry, copied, LDAP_BIND_DN="", LDAP_BIND_TEMPLATE=template, **own)
    assert [status(registry, each) for each in (ALICE, BOB, MALLORY)] == [200, 200, 403]
    assert registry.client(BOB).upload("mine-1.0.tar.gz", b"").status_code == 403
    assert registry.client(ALICE).upload("mine-1.0.tar.gz", b"").status_code != 403
    for user, password in (("alice", "wrong"), ("alice,ou=people", "alice-secret"), ("alice+uid=bob", "alice-secret")):
        assert status(registry, Account(user=user, password=password)) == 401
    copied.scale(0)
    answered(registry, ALICE, 503, SECONDS + 15)
    assert figure(registry, "pypiserver_directory_up") == 0


def test_starttls_and_nested_groups(registry: Registry, directory: Directory) -> None:
    """Also one with a comma in its name."""
    directory.modify(
        "dn: cn=Staff\\, all (*),ou=groups,dc=example,dc=org\nchangetype: add\nobjectClass: groupOfNames\n"
        "member: cn=pypi-readers,ou=groups,dc=example,dc=org\nmember: uid=mallory,ou=people,dc=example,dc=org\n"
    )
    staff = "cn=Staff\\, all (*),ou=groups,dc=example,dc=org"
    change(registry, directory, LDAP_SECURITY="starttls", LDAP_READERS=staff, LDAP_NESTED_GROUPS="2")
    assert [status(registry, each) for each in (ALICE, BOB, MALLORY)] == [200, 200, 200]
    assert registry.client(MALLORY).upload("mine-1.0.tar.gz", b"").status_code == 403
    assert figure(registry, "pypiserver_directory_missing_groups") == 0
    change(registry, directory, LDAP_READERS=staff, LDAP_MEMBERSHIP="memberOf")
    # What a user names are the groups that it is in itself.
    assert [status(registry, each) for each in (ALICE, BOB, MALLORY)] == [200, 403, 200]


def test_what_cannot_work_is_said(registry: Registry, directory: Directory) -> None:
    change(registry, directory, LDAP_PUBLISHERS="cn=nobody,ou=groups,dc=example,dc=org")
    assert status(registry, ALICE) == 200
    assert registry.client(ALICE).upload("mine-1.0.tar.gz", b"").status_code == 403
    told(registry, "publishers ('cn=nobody,ou=groups,dc=example,dc=org') is no group that")
    assert figure(registry, "pypiserver_directory_missing_groups") == 1


def test_rules_go_by_the_groups_of_the_directory(
    registry: Registry, directory: Directory, sample_directory: Path
) -> None:
    rules = [
        {"projects": ["grouped-*"], "publish": ["@core"]},
        {"projects": ["*"], "excluding": ["grouped-*"], "read": ["*"]},
    ]
    core = "cn=pypi-publishers,ou=groups,dc=example,dc=org"
    text = json.dumps({"groups": {"core": {"directory": core}}, "rules": rules})
    file = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pypiserver-permissions"}}
    registry.components = [COMPONENT, PERMISSIONS]
    registry.patches = [
        *basic(directory),
        setting("LDAP_GROUPS", f"core {core}"),
        cluster.Patch("ConfigMap", {**file, "data": {"permissions.json": text}}, "pypiserver-permissions"),
    ]
    registry.close()
    registry.apply()
    registry.wait_until_settled()
    answered(registry, ALICE, 200)
    wheel = samples.make(sample_directory, "grouped-demo")
    published = registry.client(ALICE).twine([wheel.path])
    assert published.returncode == 0, published.stdout
    refused = registry.client(ALICE).twine([samples.make(sample_directory, "ungrouped-demo").path])
    assert refused.returncode != 0
    assert "alice has no right to publish ungrouped-demo" in " ".join(refused.stdout.split())
    for path in ("simple/grouped-demo/", f"packages/{wheel.path.name}"):
        assert [status(registry, account, path) for account in (ALICE, BOB, ROBOT)] == [200, 404, 404]
    assert "grouped-demo" in registry.client(ALICE).get("simple/").text
    assert "grouped-demo" not in registry.client(BOB).get("simple/").text
    # Whoever leaves the group is noticed as late as any other change. It must have somebody, and alice may still read.
    directory.membership("add", "mallory", "pypi-publishers")
    directory.membership("delete", "alice", "pypi-publishers")
    try:
        eventually(
            lambda: status(registry, ALICE, "simple/grouped-demo/") == 404,
            "a page that is not there",
            SECONDS + 60,
            0.5,
        )
        assert status(registry, ALICE) == 200
    finally:
        directory.membership("add", "alice", "pypi-publishers")
        directory.membership("delete", "mallory", "pypi-publishers")
