"""The examples of Secrets that come from elsewhere: rendered, held against what their controllers take, and matched."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from manifests import OVERLAYS, ROOT, Manifest, by_kind, pod_of, render
from schemas import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = ROOT / "examples"
KIND = {"external-secrets": "ExternalSecret", "sealed-secrets": "SealedSecret", "sops": "Secret"}
TEXT = {"type": "string", "minLength": 1}
STRINGS = {"type": "object", "additionalProperties": TEXT}


def fields(required: str = "", **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - a schema
    """An object with these fields alone."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


METADATA = fields("name", name={"const": "pypiserver-auth"}, namespace={"const": "pypiserver"})
# Of the CRDs what these examples can use: external-secrets.io_externalsecrets.yaml of External Secrets 0.20 (v1),
# bitnami.com_sealedsecrets.yaml of Sealed Secrets 0.32, and the metadata that SOPS 3 writes for age.
SCHEMAS = {
    "external-secrets": fields(
        "apiVersion kind metadata spec",
        apiVersion={"const": "external-secrets.io/v1"},
        kind={"const": "ExternalSecret"},
        metadata=METADATA,
        spec=fields(
            "secretStoreRef target data",
            refreshInterval={"pattern": r"^([0-9]+(ns|us|ms|s|m|h))+$"},
            secretStoreRef=fields("name", name=TEXT, kind={"enum": ["SecretStore", "ClusterSecretStore"]}),
            target=fields(
                name=TEXT,
                creationPolicy={"enum": ["Owner", "Orphan", "Merge", "None"]},
                deletionPolicy={"enum": ["Delete", "Merge", "Retain"]},
            ),
            data={
                "type": "array",
                "items": fields(
                    "secretKey remoteRef",
                    secretKey=TEXT,
                    remoteRef=fields("key", key=TEXT, property=TEXT, version=TEXT),
                ),
            },
        ),
    ),
    "sealed-secrets": fields(
        "apiVersion kind metadata spec",
        apiVersion={"const": "bitnami.com/v1alpha1"},
        kind={"const": "SealedSecret"},
        metadata=METADATA,
        spec=fields("encryptedData", encryptedData=STRINGS, template=fields(metadata=METADATA, type=TEXT)),
    ),
    "sops": fields(
        "apiVersion kind metadata stringData sops",
        apiVersion={"const": "v1"},
        kind={"const": "Secret"},
        metadata=METADATA,
        stringData={"type": "object", "additionalProperties": {"pattern": r"^ENC\[AES256_GCM,data:.+,type:str\]$"}},
        sops=fields(
            "age lastmodified mac encrypted_regex version",
            age={"type": "array", "minItems": 1, "items": fields("recipient enc", recipient=TEXT, enc=TEXT)},
            lastmodified=TEXT,
            mac={"pattern": r"^ENC\["},
            encrypted_regex={"const": "^(data|stringData)$"},
            version={"pattern": r"^3\."},
        ),
    ),
}


@pytest.fixture(params=sorted(KIND))
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def keys(manifest: Manifest) -> Iterator[str]:
    """The keys that the Secret will have."""
    if manifest["kind"] == "ExternalSecret":
        assert manifest["spec"]["target"]["name"] == "pypiserver-auth"
        yield from (each["secretKey"] for each in manifest["spec"]["data"])
    elif manifest["kind"] == "SealedSecret":
        yield from manifest["spec"]["encryptedData"]
    else:
        yield from manifest["stringData"]


def test_there_is_an_example_for_each() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/*secret*.yaml")} == set(KIND)


def test_it_adds_one_object_to_the_overlay_that_its_controller_takes(name: str) -> None:
    manifests = render(EXAMPLES / name)
    added = [manifest for manifest in manifests if manifest["kind"] == KIND[name]]
    assert [each for each in manifests if each not in added] == render(OVERLAYS / "ha")
    (secret,) = added
    jsonschema.validate(secret, SCHEMAS[name])
    without = {field: value for field, value in secret.items() if field != "sops"}
    assert list(problems([each if each != secret else without for each in manifests])) == []


def test_the_registry_finds_the_keys_where_it_looks(name: str) -> None:
    manifests = render(EXAMPLES / name)
    secret = by_kind(manifests, KIND[name])
    assert set(keys(secret)) == {"publishers", "readers"}
    mounted = [each["secret"]["secretName"] for each in pod_of(manifests)["volumes"] if each["name"] == "credentials"]
    assert mounted == [secret["metadata"]["name"]]
    assert secret["metadata"]["namespace"] == by_kind(manifests, "Deployment")["metadata"]["namespace"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"refreshInterval": "hourly"}, "'hourly' does not match"),
        ({"secretStoreRef": {"kind": "Vault", "name": "vault"}}, "'Vault' is not one of"),
        ({"remoteRef": {}}, "'remoteRef' was unexpected"),
    ],
)
def test_what_a_controller_would_refuse_is_found(change: dict[str, Any], says: str) -> None:
    secret = by_kind(render(EXAMPLES / "external-secrets"), "ExternalSecret")
    with pytest.raises(jsonschema.ValidationError, match=re.escape(says)):
        jsonschema.validate({**secret, "spec": {**secret["spec"], **change}}, SCHEMAS["external-secrets"])


def test_nothing_in_them_can_be_read() -> None:
    """Sealed: an RSA ciphertext with its length in front, then AES-GCM, as pkg/crypto of Sealed Secrets has it."""
    for value in by_kind(render(EXAMPLES / "sealed-secrets"), "SealedSecret")["spec"]["encryptedData"].values():
        content = base64.b64decode(value, validate=True)
        assert int.from_bytes(content[:2], "big") == 512
        assert len(content) > 2 + 512 + 16
    for file in EXAMPLES.glob("s*s/*.yaml"):
        assert "$2" not in file.read_text()


def test_sops_encrypts_what_the_rules_say() -> None:
    (rule,) = yaml.safe_load((EXAMPLES / "sops/.sops.yaml").read_text())["creation_rules"]
    assert re.search(rule["path_regex"], "examples/sops/secret.enc.yaml")
    encrypted = yaml.safe_load((EXAMPLES / "sops/secret.enc.yaml").read_text())["sops"]
    assert encrypted["encrypted_regex"] == rule["encrypted_regex"]
    assert [each["recipient"] for each in encrypted["age"]] == [rule["age"]]
