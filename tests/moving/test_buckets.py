"""A bucket as a source: rclone lists and sends it, whatever its layout, and what it cannot do is said."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from copying import PUBLISHER, copy, counted, ended, launch, partials, wheel
from moving.test_registries import listed
from programs import wait_for
from remote_programs import KEYS, RemoteStore, s3, s3_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_programs import Registry

SOURCE = "rclone:store:bucket/team"
MEBIBYTE = 2**20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RemoteStore]:
    (tmp_path / "stores" / "bucket" / "team").mkdir(parents=True)
    with s3(tmp_path / "stores") as store:
        yield store


def environment(store: RemoteStore, **changes: str) -> dict[str, str]:
    options = {"type": "s3", "no_check_bucket": "true", **s3_options(store), **KEYS, **changes}
    quick = {"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}
    return {**quick, **{f"RCLONE_CONFIG_STORE_{name.upper()}": value for name, value in options.items()}}


def put(store: RemoteStore, path: str, content: bytes) -> None:
    file = store.directory / "bucket" / "team" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def test_packages_come_from_any_folder_of_it_and_nothing_else(tmp_path: Path, store: RemoteStore) -> None:
    wheels = [wheel(tmp_path / "made", f"acme_{number}", "1.0", 2000) for number in range(4)]
    for folder, (name, content) in zip(("", "a/", "a/b/", ".pypiserver/"), wheels, strict=True):
        put(store, f"{folder}{name}", content)
    put(store, "index.html", b"no package")
    done = copy(tmp_path, SOURCE, "target", environment=environment(store))
    assert (done.status, done.table) == (0, counted(copied=3)), done.said
    found = {path.name: path.read_bytes() for path in (tmp_path / "target").glob("*.whl")}
    assert found == dict(wheels[:3])
    again = copy(tmp_path, SOURCE, "target", environment=environment(store))
    assert (again.status, again.table) == (0, counted(there=3))


def test_to_a_registry_and_what_differs_stays(tmp_path: Path, store: RemoteStore, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme_bucket", "1.0", 2000)
    put(store, name, content)
    variables = {**environment(store), **PUBLISHER}
    done = copy(tmp_path, SOURCE, target.gateway.url, environment=variables)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    shown: dict[str, Any] = dict(listed(target, "acme-bucket"))
    assert shown[name]["hashes"]["sha256"] == hashlib.sha256(content).hexdigest()
    put(store, name, content + b"\n")
    other = copy(tmp_path, SOURCE, target.gateway.url, environment=variables)
    assert (other.status, other.table) == (1, counted(different=1))


def test_a_manifest_in_it_counts(tmp_path: Path, store: RemoteStore) -> None:
    name, content = wheel(tmp_path / "made", "acme_one", "1.0", 2000)
    put(store, name, content)
    said = {
        "filename": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "yanked": "broken",
        "upload-time": "2020-01-02T03:04:05+00:00",
        "requires-python": None,
    }
    put(store, "manifest.jsonl", json.dumps(said).encode() + b"\n")
    assert copy(tmp_path, SOURCE, "target", environment=environment(store)).status == 0
    (line,) = (tmp_path / "target" / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line) == said
    put(store, name, bytes(len(content)))
    wrong = copy(tmp_path, SOURCE, "other", environment=environment(store))
    assert (wrong.status, wrong.table) == (1, counted(failed=1)), wrong.said


def test_a_killed_run_is_gone_on_with_and_leaves_no_rclone(tmp_path: Path, store: RemoteStore) -> None:
    name, content = wheel(tmp_path / "made", "acme_large", "1.0", 8 * MEBIBYTE)
    put(store, name, content)
    running = launch(tmp_path, SOURCE, "target", "--limit-rate", "2M", environment=environment(store))
    wait_for(lambda: partials(tmp_path) > 2 * MEBIBYTE, "a part of the package")
    children = _children(running.pid)
    assert any("rclone" in _command(each) for each in children)
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: not any("rclone" in _command(each) for each in children), "the end of rclone")
    had = partials(tmp_path)
    assert MEBIBYTE < had < len(content)
    limited = copy(tmp_path, SOURCE, "target", environment=environment(store))
    assert (limited.status, limited.table) == (0, counted(copied=1)), limited.said
    assert (tmp_path / "target" / name).read_bytes() == content


def test_what_was_replaced_meanwhile_is_fetched_anew(tmp_path: Path, store: RemoteStore) -> None:
    name, content = wheel(tmp_path / "made", "acme_large", "1.0", 8 * MEBIBYTE)
    put(store, name, content)
    running = launch(tmp_path, SOURCE, "target", "--limit-rate", "2M", environment=environment(store))
    wait_for(lambda: partials(tmp_path) > 2 * MEBIBYTE, "a part of the package")
    running.send_signal(signal.SIGTERM)
    assert ended(running).status == 130
    other = wheel(tmp_path / "made", "acme_large", "1.0", 8 * MEBIBYTE)[1]
    put(store, name, other)
    done = copy(tmp_path, SOURCE, "target", environment=environment(store))
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert (tmp_path / "target" / name).read_bytes() == other


def test_a_proxy_of_the_environment_is_not_asked_for_rclone(tmp_path: Path, store: RemoteStore) -> None:
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_error(502)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    name, content = wheel(tmp_path / "made", "acme_one", "1.0", 2000)
    put(store, name, content)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, args=[0.01], daemon=True).start()
    try:
        variables = {**environment(store), "HTTP_PROXY": f"http://127.0.0.1:{proxy.server_port}"}
        # rclone, as any program in Go, asks no proxy for localhost, where this store is.
        done = copy(tmp_path, SOURCE, "target", environment=variables)
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert asked == []


@pytest.mark.parametrize(
    ("source", "changes", "said"),
    [
        ("rclone:store:nowhere", {}, "cannot be listed"),
        (SOURCE, {"secret_access_key": "wrong"}, "cannot be listed"),
        ("rclone:unknown:bucket", {}, "cannot be listed"),
    ],
)
def test_what_cannot_be_listed_is_said(
    tmp_path: Path, store: RemoteStore, source: str, changes: dict[str, str], said: str
) -> None:
    done = copy(tmp_path, source, "target", environment=environment(store, **changes))
    assert done.status == 2
    assert f"argument SOURCE: {source!r} {said}" in done.said
    assert "wrong" not in done.said
    assert not list((tmp_path / "target").glob("*.whl"))


@pytest.mark.parametrize("program", ["/nowhere/rclone", "false"])
def test_without_rclone_it_says_so(tmp_path: Path, store: RemoteStore, program: str) -> None:
    done = copy(tmp_path, SOURCE, "target", environment={**environment(store), "COPY_RCLONE": program})
    assert done.status == 2
    assert "needs rclone, and " in done.said


def _children(pid: int) -> list[int]:
    """The processes below one, as Linux has them."""
    found = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return found + [each for child in found for each in _children(child)]


def _command(pid: int) -> str:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "" if state == "Z" else os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return ""
