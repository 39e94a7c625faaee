"""Dependency confusion: somebody publishes our names on the public index, with higher versions, and waits."""

from __future__ import annotations

import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gateway_programs import Setup, make_wheel, run
from programs import wait_for
from public_index import Trouble
from public_pages import JSON

if TYPE_CHECKING:
    from pathlib import Path

    from public_index import PublicIndex
    from upstream_programs import Registry, Start

EVIL = "66.6"
SPELLINGS = [
    "acme-tool",
    "Acme-Tool",
    "ACME_TOOL",
    "acme.tool",
    "acme--tool",
    "acme-_.tool",
    "%61cme-tool",
    "acme%2Dtool",
    "acme-tool%20",
    "acme-tool?format=json",
    "./acme-tool",
    "x/../acme-tool",
    "acme-t%C3%B6ol",
]


def attack(index: PublicIndex, *names: str) -> None:
    """Publish a higher version of each name, which nobody is to see."""
    for name in names:
        index.add(name, EVIL)


def assert_unasked(index: PublicIndex, name: str) -> None:
    """Whoever runs the public index has not even learnt that there is such a name."""
    assert index.page_requests(name) == []


def wheel_of(directory: Path, name: str, version: str) -> Path:
    return make_wheel(directory, name.replace("-", "_"), version)


def publish(pod: Registry, directory: Path, name: str, version: str = "1.0") -> str:
    wheel = wheel_of(directory, name, version)
    answer = pod.upload(wheel)
    assert answer.status_code == 200, answer.text
    return wheel.name


def everywhere(name: str) -> list[str]:
    """All addresses at which something of a public project is."""
    file = f"{name.replace('-', '_')}-{EVIL}-py3-none-any.whl"
    return [
        f"/simple/{name}/",
        f"/{name}/json",
        f"/upstream/{name}/hidden",
        *(f"/upstream/{name}/{'0' * 64}/{file}{suffix}" for suffix in ("", ".metadata", ".provenance")),
    ]


def test_a_name_that_has_a_file_here_is_ours(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    pod = start()
    wheel = publish(pod, tmp_path, "our-tool")
    index.forget()
    attack(index, "our-tool")
    for accept in (JSON, "text/html", "*/*", "application/vnd.pypi.simple.v1+html;q=0.3, text/html;q=0.1"):
        for _ in range(2):
            answer = pod.get("/simple/our-tool/", Accept=accept)
            assert wheel in answer.text
            assert EVIL not in answer.text
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir", "--no-deps"]
    done = run(tmp_path, *pip, "--index-url", pod.index_url("reader", "reader-password"), "--target", "x", "our-tool")
    assert "Successfully installed our-tool-1.0" in done.stdout, done.stdout
    for path in everywhere("our-tool")[1:]:
        assert EVIL not in pod.get(path).text
    assert_unasked(index, "our-tool")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_private_name_is_never_asked_for_in_any_spelling(private: Registry, spelling: str) -> None:
    index = private.index
    answer = private.get(f"/simple/{spelling}/")
    for _ in range(3):
        if answer.status_code in {301, 302, 303, 307, 308}:
            assert answer.headers["Location"].startswith("/")
            answer = private.get(answer.headers["Location"])
    assert answer.status_code == 404
    assert private.get(f"/simple/{spelling}").status_code in {301, 404}
    assert EVIL not in answer.text
    assert_unasked(index, "tool")


def test_nothing_of_a_private_name_is_fetched(private: Registry) -> None:
    (evil,) = private.index.projects["acme-tool"].files
    for path in [*everywhere("acme-tool"), f"/upstream/acme-tool/{evil.sha256}/{evil.name}"]:
        answer = private.get(path)
        assert answer.status_code == 404, path
        assert EVIL not in answer.text
    # A file of a private name under a public one, and beside it.
    private.index.add("innocent", "1.0")
    assert private.names("innocent")
    for path in (
        f"/upstream/innocent/{evil.sha256}/{evil.name}",
        f"/upstream/innocent/../acme-tool/{evil.sha256}/{evil.name}",
        f"/upstream/innocent/..%2facme-tool/{evil.sha256}/{evil.name}",
        f"/upstream/Acme_Tool/{evil.sha256}/{evil.name}",
    ):
        assert private.get(path).status_code == 404
    assert_unasked(private.index, "tool")


def test_a_public_page_has_no_files_of_other_names(private: Registry) -> None:
    index = private.index
    index.add("harmless", "1.0")
    (evil,) = index.projects["acme-tool"].files
    index.put("harmless", evil)
    assert private.names("harmless") == {"harmless-1.0-py3-none-any.whl"}
    assert evil.name not in private.get("/simple/harmless/").text
    assert private.get(f"/upstream/harmless/{evil.sha256}/{evil.name}").status_code == 404
    assert index.requests("packages.*acme") == []


def test_a_name_stays_ours_when_its_last_file_is_removed(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    pod = start()
    for name in ("by-request", "by-hand"):
        publish(pod, tmp_path, name)
    index.forget()
    attack(index, "by-request", "by-hand")
    assert pod.remove("by-request", "1.0").status_code == 200
    (pod.server.packages / "by_hand-1.0-py3-none-any.whl").unlink()
    wait_for(lambda: pod.get("/simple/by-hand/").status_code == 404, "the end of the file")
    for _ in range(2):
        for name in ("by-request", "by-hand"):
            assert pod.get(f"/simple/{name}/").status_code == 404
            assert pod.get(f"/simple/{name}/", Accept=JSON).status_code == 404
            assert_unasked(index, name)
        pod.server.stop()
        pod.server.start()
    # It is not lost either.
    publish(pod, tmp_path, "by-request", "2.0")
    assert pod.names("by-request") == {"by_request-2.0-py3-none-any.whl"}


def test_a_volume_that_fails_opens_no_way(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    pod = start()
    publish(pod, tmp_path, "our-tool")
    index.add("public-tool", "1.0")
    index.add("another-tool", "1.0")
    assert pod.names("public-tool")
    index.wait_for_metadata()
    index.forget()
    attack(index, "our-tool")
    away = tmp_path / "away"
    pod.server.packages.rename(away)
    wait_for(lambda: pod.get("/ready").status_code == 503, "the volume to be missed")
    # What is known of our own is said on, as it always was.
    ours = pod.get("/simple/our-tool/", Accept="application/json, text/plain;q=0.1")
    assert ours.status_code in {200, 503}
    assert EVIL not in ours.text
    for name in ("another-tool", "unknown"):
        answer = pod.get(f"/simple/{name}/", Accept="application/json, text/plain;q=0.1")
        assert answer.status_code == 503, (name, answer.text)
        assert answer.headers["Retry-After"]
        assert "volume" in answer.text
    wait_for(lambda: pod.get("/simple/public-tool/").status_code == 503, "the page that may be nobody's")
    assert index.asked == []
    # Nothing is written in the place of a volume that is away.
    assert not pod.server.packages.exists()
    away.rename(pod.server.packages)
    wait_for(lambda: pod.get("/simple/public-tool/").status_code == 200, "the volume to be back")
    assert pod.names("our-tool") == {"our_tool-1.0-py3-none-any.whl"}
    assert_unasked(index, "our-tool")


def test_an_empty_volume_in_the_place_of_ours_opens_no_way(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    pod = start()
    publish(pod, tmp_path, "our-tool")
    index.add("public-tool", "1.0")
    index.forget()
    attack(index, "our-tool")
    pod.server.packages.rename(tmp_path / "away")
    pod.server.packages.mkdir()
    wait_for(lambda: pod.get("/ready").status_code == 503, "the empty volume to be noticed")
    for accept in (JSON, "text/html", "*/*"):
        answer = pod.get("/simple/our-tool/", Accept=accept)
        assert answer.status_code in {200, 503}
        assert EVIL not in answer.text
    assert pod.get("/simple/public-tool/").status_code == 503
    assert index.asked == []


def test_a_server_that_has_just_started_asks_for_nothing_of_ours(
    start: Start, index: PublicIndex, tmp_path: Path
) -> None:
    packages = tmp_path / "pod1/server/packages"
    packages.mkdir(parents=True)
    shutil.rmtree(tmp_path / "pod1", ignore_errors=True)
    pod = start()
    pod.server.kill()
    for number in range(3_000):
        (pod.server.packages / f"our_tool{number}-1.0-py3-none-any.whl").write_bytes(b"")
    attack(index, *(f"our-tool{number}" for number in range(0, 3_000, 300)))
    stop = threading.Event()
    seen: list[str] = []

    def ask(number: int) -> None:
        while not stop.is_set():
            answer = pod.get(f"/simple/our-tool{number}/")
            if answer.status_code == 200:
                seen.append(answer.text)

    with ThreadPoolExecutor(10) as pool:
        asking = [pool.submit(ask, number) for number in range(0, 3_000, 300)]
        pod.server.start()
        wait_for(lambda: len(seen) > 20, "pages")
        stop.set()
        for each in asking:
            each.result()
    assert not any(EVIL in text for text in seen)
    assert index.asked == []


def test_two_pods_on_one_volume(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    shared = {"WRITERS": "many", "PODS": "many"}
    first = start(environment=shared)
    second = start(environment={**shared, "PACKAGES_DIRECTORY": str(first.server.packages)})
    index.forget()
    for number in range(10):
        name = f"our-tool{number}"
        publish(first, tmp_path, name)
        index.forget()
        # As soon as it is published here it is published there.
        attack(index, name)
        answer = second.get(f"/simple/{name}/", Accept=JSON)
        assert EVIL not in answer.text, "the other pod shows what somebody else has published"
        assert answer.status_code in {200, 404, 503}
        assert_unasked(index, name)
    wait_for(lambda: second.get("/simple/our-tool9/").status_code == 200, "the file in the other pod")
    # The last file is removed by one pod while the other one does not look.
    for number in range(10):
        assert first.remove(f"our-tool{number}", "1.0").status_code == 200
    wait_for(lambda: second.get("/simple/our-tool9/").status_code == 404, "the removal in the other pod")
    for number in range(10):
        for pod in (first, second):
            assert pod.get(f"/simple/our-tool{number}/").status_code == 404
        assert_unasked(index, f"our-tool{number}")


def test_a_page_that_was_public_is_not_when_the_name_is_taken(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    index.add("taken", EVIL)
    pod = start(shadowing="allowed")
    assert pod.names("taken") == {f"taken-{EVIL}-py3-none-any.whl"}
    assert EVIL in pod.get("/simple/taken/").text
    file = publish(pod, tmp_path, "taken")
    for accept in (JSON, "text/html"):
        answer = pod.get("/simple/taken/", Accept=accept)
        assert file in answer.text
        assert EVIL not in answer.text


def test_a_page_that_comes_while_the_name_is_taken_is_not_kept(
    start: Start, index: PublicIndex, tmp_path: Path
) -> None:
    index.add("race", EVIL)
    pod = start(shadowing="allowed")
    held = index.trouble("/simple/race/", Trouble(hold_at=0))
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(pod.get, "/simple/race/", Accept=accept) for accept in (JSON, "text/html")]
        wait_for(lambda: index.page_requests("race"), "the question")
        file = publish(pod, tmp_path, "race")
        held.go.set()
        for each in asked:
            each.result()
    for _ in range(3):
        for accept in (JSON, "text/html"):
            answer = pod.get("/simple/race/", Accept=accept)
            assert file in answer.text
            assert EVIL not in answer.text


def test_nobody_shadows_a_public_name_by_accident(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    index.add("requests", "1.0")
    index.add("acme-tool", "1.0")
    index.add("torch", "1.0")
    pod = start(private_names=["acme-*"], merge=["torch"])
    refused = pod.upload(wheel_of(tmp_path, "requests", EVIL))
    assert refused.status_code == 403
    assert "public" in refused.reason
    assert "requests" in refused.text
    assert pod.names("requests") == {"requests-1.0-py3-none-any.whl"}
    publish(pod, tmp_path, "acme-tool")
    publish(pod, tmp_path, "torch", "2.0")
    index.go_away()
    for name, status in {"requests": 403, "never-seen": 503, "acme-more": 200}.items():
        answer = pod.upload(wheel_of(tmp_path, name, "3.0"))
        # What is known to be public is known to be so also while the index is away.
        assert answer.status_code in {status, 503 if status == 403 else status}, answer.text
    # Whoever has the name already needs nobody's leave.
    publish(pod, tmp_path, "acme-tool", "2.0")


def test_names_that_are_merged(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    public = [index.add("torch", version) for version in ("1.0", "2.0")]
    pod = start(merge=["torch"])
    assert pod.names("torch") == {file.name for file in public}
    ours = publish(pod, tmp_path, "torch", "2.0+local")
    twin = make_wheel(tmp_path, "torch", "1.0", padding=b"ours")
    assert pod.upload(twin).status_code == 200
    assert pod.names("torch") == {public[1].name, ours, twin.name}
    for accept in (JSON, "text/html"):
        for _ in range(2):
            page = pod.get("/simple/torch/", Accept=accept).text
            assert public[0].sha256 not in page, "our file of that name counts"
            assert public[1].sha256 in page
            assert f"/packages/{ours}" in page
    assert pod.get(pod.address("torch", twin.name)).content == twin.read_bytes()
    assert pod.fetch("torch", public[1].name).status_code == 200


@pytest.mark.parametrize("denied", [[], ["torch"]])
def test_a_merged_name_has_ones_own_files_also_where_there_are_no_others(
    start: Start, index: PublicIndex, tmp_path: Path, denied: list[str]
) -> None:
    pod = start(merge=["torch"], deny=denied)
    ours = publish(pod, tmp_path, "torch", "2.0+local")
    if denied:
        index.add("torch", "1.0")
    for accept in (JSON, "text/html"):
        assert f"/packages/{ours}" in pod.get("/simple/torch/", Accept=accept).text
    assert pod.names("torch") == {ours}


def test_a_full_or_failing_upstream_does_not_touch_our_own(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    pod = start(setup=Setup())
    file = publish(pod, tmp_path, "our-tool")
    index.trouble("", Trouble(hold_at=0))
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(pod.get, f"/simple/slow{number}/") for number in range(60)]
        wait_for(lambda: len(index.asked) > 10, "questions that hang")
        for _ in range(20):
            assert pod.get("/simple/our-tool/").status_code == 200
            assert pod.get("/simple/our-tool/", Accept="application/json, */*;q=0.1").status_code == 200
            assert pod.get(f"/packages/{file}").status_code == 200
        publish(pod, tmp_path, "our-tool", "2.0")
        assert len(pod.names("our-tool")) == 2
        index.trouble_is_over()
        for each in waiting:
            assert each.result().status_code in {404, 503}
    pod.upstream.kill()
    assert pod.names("our-tool")
    away = pod.get("/simple/anything/")
    assert away.status_code == 503
    assert away.headers["Retry-After"]
