"""Packages are copied into a registry on the cluster by a Job, whatever happens to its pods."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cdk8s_pypiserver import CopySpec, PyPIServerSpec, RegistryNetworkPolicySpec, RemoteSpec
from cdk8s_pypiserver.base.config_files import command_files
from copying import Done
from documents import blocks
from e2e import cluster, index, samples
from e2e.waiting import eventually
from manifests import synthesize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPONENTS = cluster.ROOT / "dist" / "components"
DOCUMENT = cluster.ROOT / "docs/moving.md"
CRON_JOB = f"{cluster.NAME}-copy"
PROJECTS = [f"e2e-moved-{number}" for number in range(12)]
SIZE = 4 * samples.MEBIBYTE
RATE = "8M"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


def _site() -> cluster.Patch:
    """Where the packages and the libraries come from, as the document has it, slowly enough to be interrupted."""
    shown = [yaml.safe_load(text) for kind, text in blocks(DOCUMENT) if kind == "yaml kustomization"]
    (entry,) = (each["patches"][0] for each in shown if "../../dist/components/copy" in each.get("components", ()))
    change = yaml.safe_load(entry["patch"])
    pod = change["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,), (libraries,) = pod["containers"], pod["initContainers"]
    container["env"][0]["value"] = libraries["env"][0]["value"] = f"{index.URL}/simple/"
    libraries["env"].append({"name": "PIP_TRUSTED_HOST", "value": "old"})
    return cluster.Patch("CronJob", change, CRON_JOB)


def _slowly() -> cluster.Patch:
    path = "/spec/jobTemplate/spec/template/spec/containers/0/args/-"
    return cluster.Patch("CronJob", [{"op": "add", "path": path, "value": f"--limit-rate={RATE}"}], CRON_JOB)


def _way() -> cluster.Patch:
    """The other registry is in the cluster, and not in the clear on the usual port."""
    rule = {"to": [{"podSelector": {"matchLabels": index.LABELS}}], "ports": [{"port": 8080}]}
    return cluster.Patch("NetworkPolicy", [{"op": "add", "path": "/spec/egress/-", "value": rule}], CRON_JOB)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What the program is made with."""
    return index.libraries(tmp_path_factory.mktemp("libraries"), command_files()["moving/requirements.txt"])


@pytest.fixture(scope="module")
def registry(
    deploy: Callable[..., cluster.Registry], sample_directory: Path, libraries: list[Path]
) -> cluster.Registry:
    """An empty registry beside an old one."""
    made = deploy(
        "copying",
        cluster.OVERLAYS / "local",
        [_site(), _slowly(), _way()],
        components=[COMPONENTS / each for each in ("copy", "network-policy")],
        accounts=True,
    )
    made.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(index.objects()))
    made.kubectl("wait", "--for=condition=Ready", "pod/old", "--timeout=120s", seconds=130)
    paths = [samples.make(sample_directory, project, size=SIZE).path for project in PROJECTS]
    for path in (*paths, *libraries):
        made.kubectl("cp", path, f"old:/packages/{path.name}")
    return made


def _packages(registry: cluster.Registry) -> dict[str, str]:
    """The sha256 of what the registry lists, by file name."""
    client = registry.client(cluster.READER)
    session = client.session
    projects = session.get(f"{client.url}simple/", headers=JSON, timeout=30).json()["projects"]
    pages = (session.get(f"{client.url}simple/{each['name']}/", headers=JSON, timeout=30).json() for each in projects)
    return {file["filename"]: file["hashes"]["sha256"] for page in pages for file in page["files"]}


def _there(registry: cluster.Registry) -> dict[str, str]:
    lines = registry.kubectl("exec", "old", "--", "sh", "-c", "cd /packages && sha256sum *").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _run(registry: cluster.Registry, name: str, retries: int = 3, **variables: str) -> None:
    made = registry.kubectl("create", "job", name, f"--from=cronjob/{CRON_JOB}", "--dry-run=client", "--output=yaml")
    manifest = yaml.safe_load(made)
    manifest["spec"]["backoffLimit"] = retries
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    container["env"] = [each for each in container["env"] if each["name"] not in variables]
    container["env"] += [{"name": key, "value": value} for key, value in variables.items()]
    registry.kubectl("create", "--filename", "-", stdin=yaml.safe_dump(manifest))


def _pods(registry: cluster.Registry, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = registry.get("pods", "--selector", f"job-name={name}")["items"]
    return found


def _ended(registry: cluster.Registry, name: str) -> tuple[bool, str]:
    """Whether a Job has succeeded, and what the last of its pods has left."""

    def conditions() -> set[str]:
        found = registry.get("job", name)["status"].get("conditions", [])
        return {each["type"] for each in found if each["status"] == "True"} & {"Complete", "Failed"}

    met = eventually(conditions, f"the end of the job {name}", 300, 0.5)
    return met == {"Complete"}, _said(registry, name)


def _said(registry: cluster.Registry, name: str) -> str:
    ended = [
        container["state"]["terminated"]
        for pod in _pods(registry, name)
        for container in pod["status"].get("containerStatuses", ())
        if "terminated" in container["state"]
    ]
    last = max(ended, key=lambda each: str(each["finishedAt"]))
    return str(last["message"])


def test_its_pods_may_run_where_only_restricted_ones_do(registry: cluster.Registry) -> None:
    labels = cluster.get("namespace", registry.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_wrong_password_is_a_failed_job_that_says_so(registry: cluster.Registry) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CRON_JOB},
        "stringData": {"username": "alice", "password": "wrong"},
    }
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(secret))
    _run(registry, "copy-wrong", retries=0)
    succeeded, said = _ended(registry, "copy-wrong")
    assert not succeeded
    assert "401" in said
    assert _packages(registry) == {}
    registry.kubectl("delete", "secret", CRON_JOB)


def test_a_pod_that_is_gone_is_gone_on_from_and_two_jobs_do_the_same(registry: cluster.Registry) -> None:
    secret = ("create", "secret", "generic", CRON_JOB, f"--from-literal=username={cluster.PUBLISHER.user}")
    registry.kubectl(*secret, f"--from-literal=password={cluster.PUBLISHER.password}")
    for name in ("copy-one", "copy-two"):
        _run(registry, name)
    eventually(lambda: len(_packages(registry)) >= 3, "the first packages that have come", 180, 0.2)
    for name in ("copy-one", "copy-two"):
        registry.kubectl("delete", "pods", "--selector", f"job-name={name}", "--grace-period=0", "--force")
    assert len(_packages(registry)) < len(_there(registry))
    for name in ("copy-one", "copy-two"):
        succeeded, said = _ended(registry, name)
        assert succeeded, said
        table = Done(0, said).table
        assert table["already there"] >= 3
        assert table["copied"] + table["already there"] == len(_there(registry))
    assert _packages(registry) == _there(registry)
    registry.kubectl("delete", "secret", CRON_JOB)


def test_commands_of_the_document(registry: cluster.Registry) -> None:
    commands = [text for kind, text in blocks(DOCUMENT) if kind == "bash copying"]
    assert len(commands) == 1
    script = "set -eu -o pipefail\n" + "".join(commands).replace("-n pypiserver", f"-n {registry.namespace}")
    environment = {**os.environ, "publisher_password": cluster.PUBLISHER.password}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert _packages(registry) == _there(registry)


def test_what_differs_is_a_failed_job_and_stays(registry: cluster.Registry) -> None:
    before = _packages(registry)
    name = next(each for each in before if each.startswith("e2e_moved_0"))
    registry.kubectl("exec", "old", "--", "sh", "-c", f"echo >>/packages/{name}")
    _run(registry, "copy-other", retries=0)
    succeeded, said = _ended(registry, "copy-other")
    assert not succeeded
    assert f"different: {name}: the target has another content under this name" in said
    assert _packages(registry) == before


def test_a_bucket_is_copied_through_rclone(
    registry: cluster.Registry, keys: tuple[str, str], sample_directory: Path
) -> None:
    endpoint = os.environ.get("E2E_S3_ENDPOINT", "http://s3.lab-s3.svc.cluster.local:9000")
    place = f"{os.environ.get('E2E_S3_BUCKET', 'packages')}/e2e-{uuid.uuid4().hex[:8]}"
    bucket = RemoteSpec(
        type="s3",
        path=place,
        options={"provider": "Other", "endpoint": endpoint, "region": "us-east-1"},
        plain_http=True,
        peers=[{"namespaceSelector": {}}],
    )
    made = [samples.make(sample_directory, f"e2e-stored-{number}", size=SIZE) for number in range(3)]
    folder = sample_directory / "bucket"
    for directory, sample in zip(("", "team", ".pypiserver"), made, strict=True):
        (folder / directory).mkdir(parents=True, exist_ok=True)
        (folder / directory / sample.path.name).write_bytes(sample.path.read_bytes())
    secret = f"{cluster.NAME}-copy-source"
    named = zip(("access_key_id", "secret_access_key"), keys, strict=True)
    registry.kubectl("create", "secret", "generic", secret, *(f"--from-literal={name}={key}" for name, key in named))
    _send(keys, bucket, folder)
    spec = CopySpec(
        bucket=bucket,
        libraries=f"{index.URL}/simple/",
        peers=[{"podSelector": {"matchLabels": index.LABELS}}],
        env=[{"name": "PIP_TRUSTED_HOST", "value": "old"}],
    )
    manifests = synthesize(PyPIServerSpec(copying=spec, network_policy=RegistryNetworkPolicySpec()))
    own = [each for each in manifests if each["metadata"]["name"].startswith(CRON_JOB)]
    assert {each["kind"] for each in own} == {"CronJob", "ConfigMap", "NetworkPolicy"}
    registry.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(own))
    before = _packages(registry)
    _run(registry, "copy-bucket", retries=0)
    succeeded, said = _ended(registry, "copy-bucket")
    assert succeeded, said
    assert Done(0, said).table["copied"] == 2
    come = {sample.path.name: samples.digest_of(sample.path) for sample in made[:2]}
    assert _packages(registry) == {**before, **come}


def _send(keys: tuple[str, str], bucket: RemoteSpec, folder: Path) -> None:
    """Fill the bucket from here."""
    options = {**bucket.options, "type": "s3", "access_key_id": keys[0], "secret_access_key": keys[1]}
    forward = None
    if "E2E_S3_ENDPOINT" not in os.environ:
        forward = cluster.Forward("lab-s3", "service/s3", 9000)
        options["endpoint"] = f"http://127.0.0.1:{forward.port}"
    environment = {f"RCLONE_CONFIG_SOURCE_{name.upper()}": value for name, value in options.items()}
    try:
        copy = ["rclone", "copy", "--s3-no-check-bucket", "--retries=10", "--retries-sleep=1s"]
        subprocess.run([*copy, folder, bucket.fs("source")], env={**os.environ, **environment}, check=True)
    finally:
        if forward:
            forward.close()
