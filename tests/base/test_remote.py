"""Stores that are elsewhere: what rclone is told of them, and what cannot be one."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import remote_programs
from cdk8s_pypiserver import Identity, SpecError
from cdk8s_pypiserver.base import remote
from cdk8s_pypiserver.base.remote import BEHAVIOUR, RemoteSpec
from certificates import Authority
from remote_programs import RemoteStore, listed, obscured, told

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = Identity("registry")
S3 = RemoteSpec(type="s3", path="bucket/team", options={"provider": "Other", "endpoint": "https://s3.example.org"})
SFTP = RemoteSpec(type="sftp", path="backups", options={"host": "files.example.org"}, secret_options=["user", "pass"])


def test_the_environment_is_all_that_rclone_is_told() -> None:
    found = {each["name"]: each for each in remote.environment({"store": S3}, IDENTITY)}
    assert list(found) == sorted(found)
    values = {name: each["value"] for name, each in found.items() if "value" in each}
    assert values == {
        **BEHAVIOUR,
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": "https://s3.example.org",
        "RCLONE_CONFIG_STORE_NO_CHECK_BUCKET": "true",
    }
    keys = {name: each["valueFrom"] for name, each in found.items() if "valueFrom" in each}
    assert keys == {
        f"RCLONE_CONFIG_STORE_{key.upper()}": {"secretKeyRef": {"name": "registry-s3", "key": key}}
        for key in ("access_key_id", "secret_access_key")
    }
    assert S3.fs("store") == "store:bucket/team"
    assert S3.fs("store", "files") == "store:bucket/team/files"


def test_a_secret_may_have_a_name_of_its_own_or_not_be_there() -> None:
    assert S3.replace(secret="keys").secret_name(IDENTITY) == "keys"
    by_the_cloud = S3.replace(secret_options=[], options={"provider": "AWS", "env_auth": "true"})
    assert not any("valueFrom" in each for each in by_the_cloud.environment("store", IDENTITY))


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        (S3, [443]),
        (SFTP, [22]),
        (SFTP.replace(options={"host": "files.example.org", "port": "2222"}), [2222]),
        (S3.replace(options={"provider": "AWS"}), [443]),
        (S3.replace(options={"provider": "Minio", "endpoint": "minio.example.org:9000"}), [9000]),
        (S3.replace(options={"provider": "Minio", "endpoint": "http://minio:9000"}, plain_http=True), [9000]),
        (S3.replace(ports=[8443, 444]), [444, 8443]),
    ],
)
def test_a_network_policy_knows_the_ports(spec: RemoteSpec, ports: list[int]) -> None:
    assert spec.used_ports == ports


def test_an_address_of_the_cluster_is_no_public_one() -> None:
    inside = S3.replace(options={"provider": "Minio", "endpoint": "https://minio.stores.svc:9000"})
    assert inside.private_host == "minio.stores.svc"
    assert inside.replace(peers=[{"namespaceSelector": {}}]).private_host is None
    assert S3.private_host is None
    assert SFTP.private_host is None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a folder": ({"type": "local"}, "type ('local') cannot be had: it is a folder of the container"),
    "another remote": ({"type": "crypt"}, "type ('crypt') cannot be had: it stands before another remote"),
    "nothing to write to": ({"type": "http"}, "type ('http') cannot be had: it can only be read"),
    "no type": ({"type": "S3"}, "type ('S3') must be the name of a storage system as rclone has it"),
    "no provider": ({"options": {}}, "options (given) must have provider for type s3"),
    "a secret": (
        {"options": {"provider": "AWS", "secret_access_key": "x"}},
        "options.secret_access_key ('secret_access_key') cannot stand here, where whoever reads the manifests",
    ),
    "the type again": ({"options": {"type": "s3"}}, "options.type ('type') cannot be an option: `type` is a field"),
    "an option in capitals": ({"options": {"PROVIDER": "AWS"}}, "must be the name of an option as in rclone's"),
    "credentials in an address": (
        {"options": {"provider": "AWS", "endpoint": "https://me:secret@s3.example.org"}},
        "must hold no credentials",
    ),
    "no encryption": (
        {"options": {"provider": "Minio", "endpoint": "http://s3.example.org"}},
        "options.endpoint ('http://s3.example.org') must begin with https://, or plain_http must say",
    ),
    "secrets unsaid": ({"type": "sftp", "options": {}}, "secret_options must be given for type sftp"),
    "a secret for nothing": ({"secret": "x", "secret_options": []}, "secret ('x') must be left out without"),
    "an option twice": (
        {"secret_options": ["region"], "options": {"provider": "AWS", "region": "here"}},
        "options.region ('here') cannot be had twice: secret_options has it",
    ),
    "a way up": ({"path": "bucket/../other"}, "path ('bucket/../other') must not have . or .. as a part"),
    "a slash": ({"path": "/bucket"}, "path ('/bucket') must be a bucket, or a folder in it"),
    "nobody": ({"peers": []}, "peers ([]) must have at least 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_remote_is_refused(case: str) -> None:
    fields, reason = REFUSED[case]
    with pytest.raises(SpecError) as error:
        S3.replace(**fields)
    assert reason in str(error.value)


def test_all_that_rclone_calls_a_password_is_a_secret() -> None:
    done = subprocess.run(["rclone", "config", "providers"], check=True, capture_output=True)
    types = {each["Name"]: each["Options"] for each in json.loads(done.stdout)}
    passwords = {option["Name"] for options in types.values() for option in options if option["IsPassword"]}
    assert {"pass", "password", "key_file_pass"} <= passwords
    for name in passwords | {"secret_access_key", "key", "sas_url", "service_account_credentials", "token"}:
        with pytest.raises(SpecError, match="cannot stand here"):
            S3.replace(options={"provider": "AWS", name: "x"})
    # Whatever else these need can be said.
    for name in ("endpoint", "region", "provider", "env_auth", "access_key_id", "storage_class", "upload_cutoff"):
        assert any(option["Name"] == name for option in types["s3"])
        assert S3.replace(options={"provider": "AWS", name: "x"}, secret_options=["secret_access_key"])


def test_rclone_knows_the_remote_and_its_certificates(tmp_path: Path) -> None:
    """A server of WebDAV by a company's own authority, asked with nothing but the environment."""
    (tmp_path / "served" / "backups").mkdir(parents=True)
    (tmp_path / "served" / "backups" / "here.txt").write_text("it is")
    authority = Authority(tmp_path)
    for name, content in zip(("tls.key", "tls.crt"), authority.issue(), strict=True):
        (tmp_path / name).write_bytes(content)
    pair: list[str | Path] = ["--cert", tmp_path / "tls.crt", "--key", tmp_path / "tls.key"]
    with RemoteStore("webdav", tmp_path / "served", "--user", "me", "--pass", "secret", *pair) as store:
        spec = RemoteSpec(
            type="webdav",
            path="backups",
            options={"url": f"https://localhost:{store.port}", "vendor": "other"},
            secret_options=["user", "pass"],
            ca_config_map="company-ca",
        )
        assert spec.used_ports == [store.port]
        environment = told(remote.environment({"store": spec}, IDENTITY), {"user": "me", "pass": obscured("secret")})
        (mount,) = remote.mounts({"store": spec})
        assert environment.pop("RCLONE_CA_CERT") == f"{mount['mountPath']}/ca.crt"
        assert listed(spec, {**environment, "RCLONE_CA_CERT": str(authority.path)}) == ["here.txt"]
        with pytest.raises(subprocess.CalledProcessError):
            listed(spec, environment)
    (volume,) = remote.volumes({"store": spec, "plain": S3})
    assert volume == {"name": mount["name"], "configMap": {"name": "company-ca"}}


def test_a_bucket_is_never_made(tmp_path: Path) -> None:
    with remote_programs.s3(tmp_path / "buckets") as store:
        (store.directory / "there").mkdir()
        spec = S3.replace(options=remote_programs.s3_options(store), plain_http=True, path="there/team")
        environment = told(remote.environment({"store": spec}, IDENTITY), remote_programs.KEYS)
        put = ["rclone", "rcat"]
        subprocess.run([*put, spec.fs("store", "file.txt")], check=True, input=b"content", env=environment)
        assert listed(spec, environment) == ["file.txt"]
        elsewhere = spec.replace(path="missing")
        done = subprocess.run(
            [*put, elsewhere.fs("store", "file.txt")],
            check=False,
            input=b"content",
            env=environment,
            capture_output=True,
        )
        assert done.returncode != 0
        assert b"NoSuchBucket" in done.stderr
        assert [each.name for each in store.directory.iterdir()] == ["there"]
