"""The overlay `local`: one pod that is reached by port-forward, with the password made at its first start."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from e2e import cluster, samples
from e2e.clients import Account
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.clients import Client
    from e2e.cluster import Registry
    from e2e.samples import Sample

LOCAL = cluster.OVERLAYS / "local"
MEMORY_LIMIT = 120 * samples.MEBIBYTE
LISTED_WITHIN = 5
"""Seconds until what somebody else has done to the volume shows, with a margin for a busy machine."""
PACKAGES = "/data/packages"
UNFINISHED = f"{PACKAGES}/.pypiserver/unfinished"

# What is in the working set of a container, as the kubelet counts it, by cgroup v2 or v1.
WORKING_SET = """
cd /sys/fs/cgroup
if [ -e memory.current ]; then
  used=$(cat memory.current); inactive=$(sed -n 's/^inactive_file //p' memory.stat)
else
  used=$(cat memory/memory.usage_in_bytes); inactive=$(sed -n 's/^total_inactive_file //p' memory/memory.stat)
fi
echo $((used - inactive))
"""
# All but the first, gunicorn's worker that is: the kernel keeps the first process of a container from killing itself.
KILL, STOP = "kill -9 -1", "kill -STOP -1"
RECEIVING = f'[ -n "$(ls {UNFINISHED})" ]'
# All of the file is there, and has still to be synced and to get its name.
STORING = f'[ -n "$(find {UNFINISHED} -type f -size +{{size}}c)" ]'


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry]) -> Registry:
    return deploy("local", LOCAL)


@pytest.fixture(scope="module")
def publisher(registry: Registry) -> Account:
    # In the words of the README, since this is the first thing that people do.
    command = "exec deploy/pypiserver -c pypiserver -- cat /data/packages/.pypiserver/initial-password"
    return Account(user="publisher", password=registry.kubectl(*command.split()).strip())


@pytest.fixture(scope="module")
def client(registry: Registry, publisher: Account) -> Client:
    return registry.client(publisher)


@pytest.fixture(scope="module")
def thirty(sample_directory: Path) -> list[Sample]:
    """Wheels and source distributions, three of them over 50 MB, some with names and versions that need care."""
    large = 51 * samples.MEBIBYTE
    made = [samples.make(sample_directory, f"wheel-{n}", size=1000 * (n + 1)) for n in range(18)]
    made += [samples.make(sample_directory, f"source-{n}", kind="sdist", size=2000 * (n + 1)) for n in range(5)]
    made += [samples.make(sample_directory, f"large-{n}", size=large) for n in range(2)]
    made += [
        samples.make(sample_directory, "large-source", kind="sdist", size=large),
        samples.make(sample_directory, "Upper.And_Mixed--Name"),
        samples.make(sample_directory, "local-version", "1.0+site.1"),
        samples.make(sample_directory, "epoch", "1!2.0"),
        samples.make(sample_directory, "candidate", "2.0rc1", kind="sdist"),
    ]
    assert len(made) == 30
    return made


@pytest.fixture(scope="module")
def published(client: Client, thirty: list[Sample]) -> list[Sample]:
    done = client.twine(sample.path for sample in thirty)
    assert done.returncode == 0, done.stdout
    return thirty


def test_memory_at_rest(registry: Registry, client: Client, note: Callable[[str], None]) -> None:
    """The pod is small while nobody uses it."""
    assert client.get("simple/").ok
    by_container = {
        container: int(registry.exec(WORKING_SET, container=container))
        for container in (cluster.GATEWAY, cluster.SERVER)
    }
    note(", ".join(f"{container} {used / samples.MEBIBYTE:.1f} MiB" for container, used in by_container.items()))
    assert sum(by_container.values()) <= MEMORY_LIMIT, by_container


def test_passwords(registry: Registry, client: Client, publisher: Account) -> None:
    """Nothing is served or taken without the right password."""
    for account in (None, Account(user=publisher.user, password="wrong"), Account(user="other", password="wrong")):
        stranger = registry.client(account)
        for path in ("", "simple/", "packages/wheel_1-1.0-py3-none-any.whl"):
            answer = stranger.get(path)
            assert answer.status_code == requests.codes.unauthorized, (account, path)
            assert answer.headers["WWW-Authenticate"].startswith("Basic"), (account, path)
        answer = stranger.upload("intruder-1.0-py3-none-any.whl", b"anything")
        assert answer.status_code == requests.codes.unauthorized
    assert client.get("simple/").ok
    assert not client.lists("intruder", "intruder-1.0-py3-none-any.whl")


def test_everything_published_is_listed(client: Client, published: list[Sample]) -> None:
    """An acknowledged upload is in the index at once."""
    for sample in published:
        assert client.lists(sample.normalised, sample.path.name), sample


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_installing(installer: str, client: Client, published: list[Sample], tmp_path: Path) -> None:
    """What is installed is what was published, to the byte: the installers compare the digests of the files."""
    install = client.pip_install if installer == "pip" else client.uv_install
    done = install(published, tmp_path)
    assert done.returncode == 0, done.stdout
    for sample in published:
        assert sample.installed_whole(tmp_path), sample


def test_publishing_again(client: Client, published: list[Sample], note: Callable[[str], None]) -> None:
    """What is published is never replaced, and the clients can say that this is fine."""
    small = published[:2]
    answer = client.upload(small[0].path.name, small[0].path.read_bytes())
    assert answer.status_code == requests.codes.conflict
    refused = client.twine([small[0].path])
    assert refused.returncode != 0
    assert "already exists" in refused.stdout
    skipped = client.twine([sample.path for sample in small], "--skip-existing")
    # twine takes 409 for "exists", but its settings may refuse the option for every address that is not PyPI's.
    assert skipped.returncode == 0 or "UnsupportedConfiguration" in skipped.stdout, skipped.stdout
    note(f"twine --skip-existing: {'skips' if skipped.returncode == 0 else 'is refused by twine itself'}")
    checked = client.uv_publish([sample.path for sample in small])
    assert checked.returncode == 0, checked.stdout


def test_uv_publishes(client: Client, sample_directory: Path) -> None:
    """uv publishes what is new."""
    sample = samples.make(sample_directory, "by-uv")
    done = client.uv_publish([sample.path])
    assert done.returncode == 0, done.stdout
    assert client.lists(sample.normalised, sample.path.name)


def test_deleting_the_pod_loses_nothing(registry: Registry, client: Client, published: list[Sample]) -> None:
    """The volume holds all there is: packages and the password."""
    (before,) = registry.wait_until_settled()
    registry.kubectl("delete", "pod", before.name)
    (after,) = registry.wait_until_settled()
    assert after.uid != before.uid
    eventually(lambda: cluster.answers(client), "an answer of the new pod")
    for sample in published:
        assert client.lists(sample.normalised, sample.path.name), sample
    whole = client.get(f"packages/{published[0].path.name}")
    assert whole.content == published[0].path.read_bytes()


@pytest.mark.parametrize("moment", ["receiving", "storing"])
def test_killing_the_server_during_an_upload(
    moment: str, registry: Registry, client: Client, large_sample: Sample
) -> None:
    """An upload that was cut off is not there at all, and works when it is repeated."""
    name = large_sample.path.name.replace("large", f"killed_{moment}")
    content = large_sample.path.read_bytes()
    half_sent, send_the_rest = threading.Event(), threading.Event()
    before = processes(registry)
    assert before

    def progress(sent: int) -> None:
        if sent > len(content) // 2:
            half_sent.set()
            assert send_the_rest.wait(60)

    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(client.upload, name, content, bytes_per_second=1e9, progress=progress)
        assert half_sent.wait(60)
        reached = RECEIVING if moment == "receiving" else STORING.format(size=len(content) - 1)
        kill_at_work(registry, reached, name, send_the_rest)
        answer = upload.result()
    listing = eventually(lambda: answered(client), "an answer of the new process", 60, 0.1)
    assert processes(registry).isdisjoint(before), "the kill has hit nothing"
    assert answer.status_code == requests.codes.unavailable
    assert f"killed-{moment}" not in listing
    assert client.get(f"packages/{name}").status_code == requests.codes.not_found
    assert not registry.exec(f"ls {UNFINISHED}").split(), "the new process has not cleared what was unfinished"
    assert client.upload(name, content).ok
    assert client.get(f"packages/{name}").content == content


def kill_at_work(registry: Registry, reached: str, name: str, send_the_rest: threading.Event) -> None:
    """Kill the server when an upload has come as far as this.

    It is stopped there first, so that whoever looks whether the moment was the right one has all the time it takes.
    """
    waiting = f"waiting-for-{name}"
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(
            registry.attempt,
            f"touch /tmp/{waiting}; until {reached}; do :; done; {STOP}; "
            f"{reached} && [ ! -e {PACKAGES}/{name} ] && echo in time; {KILL}",
        )
        eventually(lambda: killed.done() or waiting in registry.attempt("ls /tmp"), "the kill to be in place")
        send_the_rest.set()
        said = killed.result()
    assert "in time" in said, said


def processes(registry: Registry) -> set[str]:
    """The processes of gunicorn but the first, which only sees to the others."""
    # The brackets keep the shell that runs this from being one of them.
    found = registry.exec("grep -la 'gunicor[n]' /proc/[0-9]*/cmdline 2>/dev/null; true").split()
    assert "/proc/1/cmdline" in found
    return {path for path in found if path != "/proc/1/cmdline"}


def answered(client: Client) -> str:
    """The index, once the server answers again."""
    try:
        # The page may be a file that the gateway serves; the directory is always the server's answer.
        directory, index = client.get("packages/"), client.get("simple/")
    except requests.RequestException:
        return ""
    return index.text if directory.ok and index.ok else ""


def test_applying_again_changes_nothing(registry: Registry) -> None:
    """An overlay that is applied again by a pipeline restarts nothing."""
    before = registry.wait_until_settled()
    assert [line for line in registry.apply() if not line.endswith(" unchanged")] == []
    difference = cluster.run("diff", "--kustomize", registry.write())
    assert (difference.returncode, difference.stdout) == (0, ""), difference.stderr
    assert registry.pods() == before


def test_a_changed_setting_rolls_the_pods(registry: Registry, client: Client, published: list[Sample]) -> None:
    """A further component of the overlay takes effect by itself, though all that it changes is a mounted file."""
    nobody = registry.client(None)
    assert nobody.get("simple/").status_code == requests.codes.unauthorized
    (before,) = registry.wait_until_settled()
    registry.components.append(cluster.ROOT / "dist/components/anonymous-reads")
    registry.apply()
    (after,) = registry.wait_until_settled()
    assert after.template != before.template
    eventually(lambda: cluster.answers(nobody), "an answer of the new pod")
    assert nobody.lists(published[0].normalised, published[0].path.name)
    answer = nobody.upload("intruder-1.0-py3-none-any.whl", b"anything")
    assert answer.status_code == requests.codes.unauthorized
    assert client.get("simple/").ok


def test_full_volume(
    deploy: Callable[..., Registry], sized_class: str, sample_directory: Path, note: Callable[[str], None]
) -> None:
    """A volume without room refuses uploads and says so, goes on serving, and takes uploads when there is room."""
    registry = deploy("full", LOCAL, [cluster.storage(sized_class, "200Mi")], accounts=True)
    client = registry.client(cluster.PUBLISHER)
    made = [samples.make(sample_directory, f"filling-{n}", size=60 * samples.MEBIBYTE) for n in range(4)]
    taken: list[Sample] = []
    for refused in made:
        answer = client.upload(refused.path.name, refused.path.read_bytes())
        if not answer.ok:
            break
        taken.append(refused)
    else:
        pytest.fail("four files of 60 MiB went onto a volume of 200 MiB")
    note(f"answered {answer.status_code} {answer.reason} after {len(taken)} files")
    assert answer.status_code == requests.codes.insufficient_storage
    assert "room" in answer.reason
    shown = client.twine([refused.path])
    assert "507" in shown.stdout, shown.stdout
    assert "room" in shown.stdout, shown.stdout
    assert not client.lists(refused.normalised, refused.path.name)
    assert client.get(f"packages/{refused.path.name}").status_code == requests.codes.not_found
    assert not registry.exec(f"ls {UNFINISHED}").split()
    assert all(pod.ready for pod in registry.pods()), "a full volume is no reason to stop serving"
    assert client.get(f"packages/{taken[0].path.name}").content == taken[0].path.read_bytes()

    # A pod that starts on a full volume serves as well.
    room = "$(df -P /data/packages | awk 'NR==2 {print $4}')"
    registry.exec(f"dd if=/dev/zero of=/data/packages/.filler bs=1024 count={room} 2>/dev/null; true")
    (before,) = registry.wait_until_settled()
    registry.kubectl("delete", "pod", before.name)
    registry.wait_until_settled()
    eventually(lambda: cluster.answers(client), "an answer of the new pod")
    assert client.lists(taken[0].normalised, taken[0].path.name)

    registry.exec(f"rm /data/packages/.filler /data/packages/{taken[0].path.name}")
    eventually(
        lambda: not client.lists(taken[0].normalised, taken[0].path.name), "the end of the removed file", LISTED_WITHIN
    )
    assert client.upload(refused.path.name, refused.path.read_bytes()).ok
    assert client.lists(refused.normalised, refused.path.name)


def test_missing_secret(deploy: Callable[..., Registry]) -> None:
    """Without credentials the log says what to make, and the registry serves once that is there."""
    registry = deploy("secret", LOCAL, [cluster.setting("INITIAL_PASSWORD", "no")], settled=False)

    def explained() -> str:
        try:
            log = registry.logs()
        except cluster.KubectlError:
            return ""
        return log if "pypiserver-auth" in log else ""

    log = eventually(explained, "a log that names the Secret", 120, 0.5)
    for what in ("publishers", "htpasswd", "kubectl create secret"):
        assert what in log
    (manifest,) = registry.get("pods")["items"]
    assert not cluster.is_ready(manifest)

    def reasons() -> list[str]:
        (pod,) = registry.get("pods")["items"]
        (server,) = (each for each in pod["status"]["containerStatuses"] if each["name"] == cluster.SERVER)
        states = (server["state"], server["lastState"])
        return [state["terminated"]["message"] for state in states if "message" in state.get("terminated", {})]

    (reason, *_) = eventually(reasons, "a termination message", 60, 0.5)
    assert "pypiserver-auth" in reason

    files = [f"--from-literal={key}={cluster.htpasswd(account)}" for key, account in cluster.ACCOUNTS.items()]
    registry.kubectl("create", "secret", "generic", "pypiserver-auth", *files)
    # What an impatient person does; the kubelet's own next attempt comes after up to five minutes.
    registry.kubectl("delete", "pod", manifest["metadata"]["name"], seconds=400)
    registry.wait_until_settled()
    reader = registry.client(cluster.READER)
    assert reader.get("simple/").ok
    assert reader.upload("by_reader-1.0-py3-none-any.whl", b"anything").status_code == requests.codes.forbidden
    assert registry.client(cluster.PUBLISHER).upload("by_publisher-1.0-py3-none-any.whl", b"anything").ok
