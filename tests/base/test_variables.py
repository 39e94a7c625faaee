"""What the kubelet makes of the values of variables."""

import pytest

from cdk8s_pypiserver import (
    BackupSpec,
    ExternalAuthSpec,
    LDAPSpec,
    PyPIServerSpec,
    RemoteSpec,
)
from cdk8s_pypiserver.base.variables import literal
from manifests import expanded, synthesize

ODD = "$(HOME) $$ $$(HOME) $HOME $$$(HOME) $"
"""What a password, a filter or a name may have."""


@pytest.mark.parametrize("text", [*ODD.split(), ODD, "", "a$", "plain"])
def test_a_text_reaches_the_container_as_it_is(text: str) -> None:
    assert expanded(literal(text), {"HOME": "/home"}) == text


REMOTE = RemoteSpec(
    type="s3", path="bucket", options={"provider": "Other", "endpoint": f"https://s3.example.org/{ODD}"}
)


@pytest.mark.parametrize(
    ("spec", "kind", "value"),
    [
        (
            {
                "ldap": LDAPSpec(
                    servers=["ldap.example.org"],
                    ca_config_map="ca",
                    base=f"ou={ODD}x,dc=example",
                    bind_dn="cn=a,dc=example",
                    everybody_reads=True,
                )
            },
            "Deployment",
            f"ou={ODD}x,dc=example",
        ),
        (
            {
                "external_auth": ExternalAuthSpec(
                    url="https://auth.example.org/", ca_config_map="ca", readers=[f"group {ODD}x"]
                )
            },
            "Deployment",
            f"group {ODD}x",
        ),
        ({"backup": BackupSpec(remote=REMOTE)}, "CronJob", REMOTE.options["endpoint"]),
    ],
    ids=["ldap", "external auth", "remote"],
)
def test_what_a_spec_has_reaches_the_container_as_it_is(spec: dict[str, object], kind: str, value: str) -> None:
    values = set()
    for made in (each["spec"] for each in synthesize(PyPIServerSpec(**spec)) if each["kind"] == kind):  # type: ignore[arg-type]
        pod = (made["jobTemplate"]["spec"] if kind == "CronJob" else made)["template"]["spec"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            known = {each["name"]: each.get("value", "") for each in container.get("env", [])}
            values |= {expanded(text, known) for text in known.values()}
    assert value in values
