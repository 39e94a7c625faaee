"""The container that asks a directory: its manifests, and start.sh, which makes httpd's configuration."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import cdk8s
import pytest

from cases import CASES, DIRECTORY
from cdk8s_pypiserver import (
    LDAPSpec,
    PermissionGroupSpec,
    PermissionRuleSpec,
    PermissionsSpec,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
)
from cdk8s_pypiserver.access.ldap import LONGEST_ANSWER_SECONDS
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.peers import NAME_SERVERS, PRIVATE
from manifests import Manifest, by_kind, expanded, pod_of, synthesize
from programs import First, needs_pid_namespaces, wait_for
from server.access.judge import ANSWER_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = ["/bin/sh", *(["busybox sh"] if shutil.which("busybox") else []), "bash --posix"]
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n"


def _container(spec: PyPIServerSpec, name: str = "ldap") -> Manifest:
    return next(dict(each) for each in pod_of(synthesize(spec))["containers"] if each["name"] == name)


def _environment(container: Manifest) -> dict[str, Any]:
    return {each["name"]: expanded(each.get("value", ""), {}) for each in container["env"]}


def test_the_server_knows_where_to_ask_and_for_how_long_it_counts() -> None:
    spec = PyPIServerSpec(ldap=DIRECTORY.replace(seconds=300, guesses=3))
    environment = _environment(_container(spec, "pypiserver"))
    found = {name: value for name, value in environment.items() if name.startswith("DIRECTORY_")}
    assert found == {"DIRECTORY_PORT": "8085", "DIRECTORY_SECONDS": "300", "DIRECTORY_GUESSES": "3"}
    assert "Listen 127.0.0.1:8085\n" in runtime_files("ldap")["httpd.conf"]


def test_the_server_waits_as_long_as_a_spec_may_have_an_answer_take() -> None:
    assert LONGEST_ANSWER_SECONDS == ANSWER_SECONDS


def test_no_secret_goes_through_the_manifests_or_into_other_containers() -> None:
    pod = pod_of(synthesize(CASES["active-directory"]))
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["ldap-bind"]["secret"] == {"secretName": "directory-account", "optional": True}
    assert volumes["ldap-ca"]["secret"] == {"secretName": "company-ca", "optional": True}
    mounting = [each["name"] for each in pod["containers"] if "ldap-bind" in str(each["volumeMounts"])]
    assert mounting == ["ldap"]


def test_it_is_hardened_and_outlives_the_gateways_connections() -> None:
    container = _container(PyPIServerSpec(ldap=DIRECTORY))
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert ":1F90" in str(container["lifecycle"]).replace("(", ":").replace("|", ":")
    assert container["livenessProbe"]["exec"]["command"][2] == f":{8085:04X} 00000000:0000 0A"


def test_the_network_policy_lets_it_reach_the_servers() -> None:
    egress = by_kind(synthesize(CASES["active-directory"]), "NetworkPolicy")["spec"]["egress"]
    ports = [{"port": 3269, "protocol": "TCP"}]
    assert {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": ports} in egress
    plain = PyPIServerSpec(ldap=DIRECTORY.replace(security="starttls"), network_policy=RegistryNetworkPolicySpec())
    egress = by_kind(synthesize(plain), "NetworkPolicy")["spec"]["egress"]
    assert {"to": list(PRIVATE), "ports": [{"port": 389, "protocol": "TCP"}]} in egress
    assert any(rule["to"] == list(NAME_SERVERS) for rule in egress)


def test_nobody_else_may_have_its_port() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart", PyPIServerSpec(ldap=DIRECTORY))
    chart.registry.pod.add_container({"name": "mine", "image": "a:1", "ports": [{"containerPort": 8085}]})
    problem = "container mine: ports.containerPort (8085) must be another one: ldap listens there"
    assert problem in chart.registry.problems()


class Started:
    """start.sh with an httpd that takes everything, or says what is wrong."""

    def __init__(self, directory: Path, spec: LDAPSpec = DIRECTORY, shell: str = "/bin/sh", **changed: str) -> None:
        self.directory = directory
        self.changed = changed
        self.shell = shell
        self.spec = spec
        self.problem = ""
        for name, text in (("ldap-ca/ca.crt", CERTIFICATE), ("ldap-bind/password", "secret\n")):
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def prepare(self, httpd: str) -> tuple[list[str], dict[str, str]]:
        """Write the files, with a script as httpd; returns what to run, and its environment."""
        for name, text in runtime_files("ldap").items():
            (self.directory / name).write_text(self._here(text))
        program = self.directory / "bin/httpd"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{httpd}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        environment = {**_environment(_container(PyPIServerSpec(ldap=self.spec))), **self.changed}
        return [*self.shell.split(), str(self.directory / "start.sh")], {"PATH": os.environ["PATH"], **environment}

    def run(self) -> subprocess.CompletedProcess[str]:
        httpd = f"echo {shlex.quote(self.problem)}\nexit {1 if self.problem else 0}"
        command, environment = self.prepare(httpd)
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)

    @property
    def configuration(self) -> str:
        done = self.run()
        assert done.returncode == 0, done.stderr
        return (self.directory / "made/directory.conf").read_text()

    @property
    def refusal(self) -> str:
        done = self.run()
        assert done.returncode == 1
        reason = (self.directory / "termination-log").read_text()
        assert done.stderr == f"the container ldap cannot start: {reason}"
        return reason.rstrip("\n")

    def _here(self, text: str) -> str:
        (self.directory / "termination-log").touch()
        for there, here in (
            ("/usr/local/apache2", str(self.directory)),
            ("/etc/pypiserver/ldap-", f"{self.directory}/ldap-"),
            ("/etc/pypiserver/ldap", str(self.directory)),
            ("/tmp/ldap", f"{self.directory}/made"),  # noqa: S108 - of the container
            ("/dev/termination-log", f"{self.directory}/termination-log"),
            ("sleep 5", "sleep 0.1"),
        ):
            text = text.replace(there, here)
        return text


@pytest.mark.parametrize("shell", SHELLS)
def test_each_role_has_its_groups(tmp_path: Path, shell: str) -> None:
    made = Started(tmp_path, shell=shell).configuration
    reader, publisher = made.partition('<Location "/reader">')[2].split("</Location>")[:2]
    groups = [f"Require ldap-group cn=pypi-{of},ou=groups,dc=example,dc=org" for of in ("readers", "publishers")]
    assert [group in reader for group in groups] == [True, True]
    assert [group in publisher for group in groups] == [False, True]
    for role in (reader, publisher):
        assert 'AuthLDAPURL "ldaps://ldap.example.org/ou=people,dc=example,dc=org?uid?sub?(objectClass=*)" SSL' in role
        assert f'AuthLDAPBindPassword "exec:/bin/cat {tmp_path}/ldap-bind/password"' in role
    assert f"LDAPTrustedGlobalCert CA_BASE64 {tmp_path}/ldap-ca/ca.crt\n" in made
    assert sorted(each.name for each in (tmp_path / "made/answers/check").iterdir()) == ["0", "1", "2"]
    assert "secret\n" not in made


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_directory_takes_for_its_own_reaches_it_as_text(tmp_path: Path, shell: str) -> None:
    group = "CN=Staff\\, all (*) 100%?,DC=example,DC=org"
    spec = DIRECTORY.replace(base="ou=a b?\\,c%,dc=org", readers=[group])
    made = Started(tmp_path, spec, shell).configuration
    assert "/ou=a%20b%3f%5c,c%25,dc=org?uid?sub?" in made
    assert "    Require ldap-group CN=Staff\\\\, all (*) 100%?,DC=example,DC=org\n" in made
    assert "/CN=Staff%5c,%20all%20(*)%20100%25%3f,DC=example,DC=org?objectClass?sub" in made
    made = Started(tmp_path, spec.replace(membership="in-chain"), shell).configuration
    rule = "memberOf:1.2.840.113556.1.4.1941:"
    assert f"    Require ldap-filter {rule}=CN=Staff\\\\5c, all \\\\28\\\\2a\\\\29 100%?,DC=example,DC=org\n" in made


@pytest.mark.parametrize("shell", SHELLS)
def test_the_groups_of_the_permissions_are_asked_about_by_their_names(tmp_path: Path, shell: str) -> None:
    permissions = PermissionsSpec(
        groups=[
            PermissionGroupSpec(name="core.team", directory="cn=Core (all),ou=groups,dc=example,dc=org"),
            PermissionGroupSpec(name="robots", users=["ci"]),
        ],
        rules=[PermissionRuleSpec(projects=["*"], publish=["@core.team", "@robots"])],
    )
    groups = _environment(_container(PyPIServerSpec(ldap=DIRECTORY, permissions=permissions)))["LDAP_GROUPS"]
    started = Started(tmp_path, shell=shell, LDAP_GROUPS=groups)
    location = started.configuration.partition('<Location "/group/core.team">')[2].partition("</Location>")[0]
    assert "    Require ldap-group cn=Core (all),ou=groups,dc=example,dc=org\n" in location
    assert "AuthBasicProvider ldap" in location
    assert [each.name for each in (tmp_path / "made/answers/group").iterdir()] == ["core.team"]
    assert "the group core.team of the permissions" in started.configuration


@pytest.mark.parametrize("line", ["core", "a/b cn=core", " cn=core"])
def test_groups_of_the_permissions_that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    assert "LDAP_GROUPS has '" in Started(tmp_path, LDAP_GROUPS=f"core cn=core\n{line}").refusal


def test_everybody_reads_and_nobody_publishes_unless_said(tmp_path: Path) -> None:
    made = Started(tmp_path, DIRECTORY.replace(readers=[], publishers=[], everybody_reads=True)).configuration
    reader, publisher = made.partition('<Location "/reader">')[2].split("</Location>")[:2]
    assert "    Require valid-user\n" in reader
    assert "    Require all denied\n" in publisher


def test_without_tls_no_certificate_is_asked_for(tmp_path: Path) -> None:
    made = Started(tmp_path, DIRECTORY.replace(security="none", ca_config_map=None))
    (tmp_path / "ldap-ca/ca.crt").unlink()
    assert '"ldap://ldap.example.org/' in made.configuration
    assert '" NONE\n' in made.configuration
    assert "LDAPTrustedGlobalCert" not in made.configuration


def test_users_who_bind_by_themselves(tmp_path: Path) -> None:
    template = "uid=$1,ou=people,dc=example,dc=org"
    made = Started(tmp_path, DIRECTORY.replace(bind_dn=None, bind_template=template))
    (tmp_path / "ldap-bind/password").unlink()
    assert f'" "{template}"\n' in made.configuration
    assert "AuthLDAPSearchAsUser On" in made.configuration
    assert "BindPassword" not in made.configuration
    assert [*(tmp_path / "made/answers/check").iterdir()] == []


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("LDAP_SERVERS", "", "LDAP_SERVERS is ''; it must be hosts"),
        ("LDAP_SERVERS", "ldaps://ldap.example.org", "LDAP_SERVERS is 'ldaps://ldap.example.org'; it must be hosts"),
        ("LDAP_SECURITY", "tls", "LDAP_SECURITY is 'tls'; it must be one of: ldaps starttls none"),
        ("LDAP_BASE", "", "LDAP_BASE is ''; it must be where users are searched"),
        ("LDAP_BASE", "dc=a\ndc=b", "it must be one line"),
        ("LDAP_BASE", "dc=${HOME}", "LDAP_BASE is 'dc=${HOME}'; it must be one line without"),
        ("LDAP_USER_ATTRIBUTE", "uid?sub", "is 'uid?sub'; it must be a name such as uid"),
        ("LDAP_USER_FILTER", "objectClass=*", "LDAP_USER_FILTER is 'objectClass=*'; it must be a filter"),
        ("LDAP_MEMBERSHIP", "memberof", "LDAP_MEMBERSHIP is 'memberof'; it must be one of: member memberOf in-chain"),
        ("LDAP_NESTED_GROUPS", "21", "LDAP_NESTED_GROUPS is '21'; it must be a whole number from 0 to 20"),
        ("LDAP_CONNECT_SECONDS", "0", "LDAP_CONNECT_SECONDS is '0'; it must be a whole number from 1 to 60"),
        ("LDAP_ANSWER_SECONDS", "1e3", "LDAP_ANSWER_SECONDS is '1e3'; it must be a whole number from 1 to 60"),
        ("LDAP_BIND_DN", "", "LDAP_BIND_DN is ''; it must be who searches for users, or LDAP_BIND_TEMPLATE be set"),
        ("LDAP_BIND_TEMPLATE", "$1@a", "LDAP_BIND_TEMPLATE is '$1@a'; it must be left out with LDAP_BIND_DN"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, variable: str, value: str, reason: str) -> None:
    assert reason in Started(tmp_path, DIRECTORY, "/bin/sh", **{variable: value}).refusal


def test_groups_that_are_none_are_refused(tmp_path: Path) -> None:
    assert "one of them must name a group" in Started(tmp_path, LDAP_READERS="", LDAP_PUBLISHERS="").refusal


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("ldap-ca/ca.crt", "ldap-ca/ca.crt is missing or has no certificate; make the ConfigMap or Secret"),
        ("ldap-bind/password", "ldap-bind/password is missing or empty; make the Secret that is mounted there"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, missing: str, reason: str) -> None:
    made = Started(tmp_path)
    (tmp_path / missing).unlink()
    assert reason in made.refusal


def test_what_httpd_refuses_is_said(tmp_path: Path) -> None:
    made = Started(tmp_path)
    made.problem = "AH00526: Syntax error"
    assert made.refusal == "httpd refuses its configuration: AH00526: Syntax error"


@needs_pid_namespaces
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGWINCH])
@pytest.mark.parametrize("phase", ["the check of the configuration", "its work"])
def test_it_ends_with_its_pod(tmp_path: Path, shell: str, number: int, phase: str) -> None:
    reached, checked = tmp_path / phase, tmp_path / "checked"
    if phase == "its work":
        checked.touch()
    check = f": >'{tmp_path}/the check of the configuration'; while [ ! -e {checked} ]; do sleep 0.1; done"
    work = f": >'{tmp_path}/its work'; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    command, environment = Started(tmp_path, shell=shell).prepare(f"if [ $1 = -t ]; then {check}; else {work}; fi")
    with First(command, env=environment) as process:
        wait_for(reached.exists, phase)
        process.send_signal(number)
        checked.touch()
        assert process.wait(8) == 0
