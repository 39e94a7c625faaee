"""A whole registry on a store: what is published is fetched by whoever comes later, and what is removed by nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import requests

from fetching_programs import Pod
from gateway_programs import make_wheel, multipart
from programs import PATIENCE, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    with Pod(tmp_path) as started:
        yield started


def published(pod: Pod, file: Path) -> requests.Response:
    body, content_type = multipart(file)
    return pod.gateway.request("POST", "/", *PUBLISHER, data=body, headers={"Content-Type": content_type})


def publish(pod: Pod, file: Path) -> None:
    """Publish a file, once more if rclone takes too long for it on a busy machine."""
    wait_for(lambda: published(pod, file).status_code == 200, f"{file.name} to be published")


def removed(pod: Pod, name: str, version: str) -> None:
    form = {":action": "remove_pkg", "name": name, "version": version}
    requests.post(f"{pod.gateway.url}/", form, auth=PUBLISHER, timeout=PATIENCE).raise_for_status()


def test_what_is_published_is_kept_and_is_the_same_when_it_is_fetched(pod: Pod, tmp_path: Path) -> None:
    file = make_wheel(tmp_path, "demo", "1.0", os.urandom(300_000))
    publish(pod, file)
    kept = pod.gateway.get(f"/packages/{file.name}", *READER)
    assert kept.content == file.read_bytes()
    assert pod.fetching.metrics()['requests_total{result="ok"}'] == 0
    (pod.server.packages / file.name).unlink()
    fetched = pod.gateway.get(f"/packages/{file.name}", *READER)
    assert fetched.content == file.read_bytes()
    for header in ("ETag", "Last-Modified", "Cache-Control"):
        assert fetched.headers[header] == kept.headers[header], header


def test_a_new_pod_has_everything_without_having_fetched_it(pod: Pod, tmp_path: Path) -> None:
    file = make_wheel(tmp_path, "demo", "1.0")
    publish(pod, file)
    for program in (pod.fetching, pod.server):
        program.kill()
    for path in pod.server.packages.glob("*.whl"):
        path.unlink()
    pod.server.start()
    pod.fetching.start()
    assert file.name in pod.gateway.get("/simple/demo/", *READER).text
    assert pod.fetching.metrics()["received_bytes_total"] == 0
    assert pod.gateway.get(f"/packages/{file.name}", *READER).content == file.read_bytes()


def test_what_is_removed_is_nowhere(pod: Pod, tmp_path: Path) -> None:
    file = make_wheel(tmp_path, "demo", "1.0")
    publish(pod, file)
    assert (pod.objects / file.name).exists()
    removed(pod, "demo", "1.0")
    assert not (pod.objects / file.name).exists()
    assert not (pod.server.packages / file.name).exists()
    assert pod.gateway.get(f"/packages/{file.name}", *READER).status_code == 404


def test_a_store_that_is_away_costs_what_is_not_there_alone(pod: Pod, tmp_path: Path) -> None:
    kept, other, late = (make_wheel(tmp_path, "demo", version) for version in ("1.0", "2.0", "3.0"))
    for file in (kept, other):
        publish(pod, file)
    (pod.server.packages / other.name).unlink()
    pod.store.stop()
    assert pod.gateway.get(f"/packages/{kept.name}", *READER).content == kept.read_bytes()
    assert pod.gateway.get("/simple/demo/", *READER).status_code == 200
    for answer in (pod.gateway.get(f"/packages/{other.name}", *READER), published(pod, late)):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
    assert late.name not in pod.gateway.get("/simple/demo/", *READER).text
    pod.store.start()
    publish(pod, late)

    def comes_back() -> bool:
        # A store that does not answer is left alone for a moment.
        answer = pod.gateway.get(f"/packages/{other.name}", *READER)
        assert answer.status_code in {200, 503}
        return answer.content == other.read_bytes()

    wait_for(comes_back, "the file that is not kept")


def test_the_page_of_metrics_has_those_of_both_programs(pod: Pod) -> None:
    text = requests.get(f"{pod.server.url}/-/metrics", timeout=PATIENCE).text
    for metric in ("pypiserver_store_answers 1", "pypiserver_fetching_cache_files 0"):
        assert f"{metric}\n" in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    pod.fetching.kill()
    text = requests.get(f"{pod.server.url}/-/metrics", timeout=PATIENCE).text
    assert "pypiserver_store_answers 1\n" in text
    assert "pypiserver_fetching" not in text
