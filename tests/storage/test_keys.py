"""The Secret of an object store, whose change rclone learns of without a restart."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from certificates import mount
from fetching_programs import NEW_KEYS, Pod
from gateway_programs import make_wheel, multipart
from programs import PATIENCE, wait_for
from refusing_store import Refusal
from remote_programs import KEYS
from server.store.keys import AGAIN_SECONDS, Keys, UnusableKeyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")
IN_VAIN = "http://127.0.0.1:1"


def read_by_rclone(file: Path) -> dict[str, str]:
    command = ["rclone", "config", "dump", "--config", str(file)]
    found: dict[str, str] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["store"]
    return found


def kept(tmp_path: Path, **secret: str) -> Keys:
    """What keeps `rclone.conf` like a Secret."""
    directory = tmp_path / "secret"
    directory.mkdir(exist_ok=True)
    mount(directory, {name: value.encode() for name, value in secret.items()})
    return Keys(directory, tmp_path / "rclone.conf", "s3", IN_VAIN)


@pytest.mark.parametrize(
    "value", ["plain/+=", " spaces ", "`", 'a"b', '"""a"""', "# no comment", "a = b", "[a]", "%(a", "ä", "%s", ""]
)
def test_rclone_reads_what_the_secret_has(tmp_path: Path, value: str) -> None:
    kept(tmp_path, access_key_id=f"{value}\n", secret_access_key="b").write()
    expected = {"type": "s3", "secret_access_key": "b", "access_key_id": value}
    assert read_by_rclone(tmp_path / "rclone.conf") == expected
    assert stat.S_IMODE((tmp_path / "rclone.conf").stat().st_mode) == 0o600


def test_what_clouds_give_in_several_lines_is_one(tmp_path: Path) -> None:
    credentials = {"type": "service_account", "private_key": "-----BEGIN\nA\n"}
    kept(tmp_path, service_account_credentials=json.dumps(credentials, indent=2)).write()
    found = read_by_rclone(tmp_path / "rclone.conf")["service_account_credentials"]
    assert json.loads(found) == credentials


@pytest.mark.parametrize("value", ["hidden\nline", "hidden%(type)s"])
def test_what_rclone_would_read_otherwise_is_refused_and_not_told(
    tmp_path: Path, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = kept(tmp_path, access_key_id=value)
    with pytest.raises(UnusableKeyError, match="access_key_id has "):
        keys.write()
    for _ in range(2):
        keys.look()
    assert len(caplog.records) == 1
    assert "hidden" not in caplog.text
    assert not (tmp_path / "rclone.conf").exists()


def test_rclone_is_told_until_it_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now, told, answers = [0.0], [], [False]

    def forget() -> None:
        if not answers[0]:
            raise ConnectionRefusedError
        told.append(now[0])

    keys = kept(tmp_path, access_key_id="first")
    keys = Keys(tmp_path / "secret", tmp_path / "rclone.conf", "s3", IN_VAIN, lambda: now[0])
    monkeypatch.setattr(keys, "_forget", forget)
    for now[0] in (0.0, 1.0):
        keys.look()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    answers[0] = True
    for second in range(2, 30):
        now[0] = float(second)
        keys.look()
    assert told == [2.0, 3.0, max(AGAIN_SECONDS)]
    kept(tmp_path, access_key_id="second")
    keys.look()
    assert told[3:] == [29.0]
    assert read_by_rclone(tmp_path / "rclone.conf")["access_key_id"] == "second"
    assert "first" not in caplog.text
    assert "second" not in caplog.text


class Load:
    """Publishes and reads what is not kept, until it is told to end."""

    def __init__(self, pod: Pod, files: list[Path]) -> None:
        self._pod = pod
        self._files = files
        self._ended = threading.Event()
        self.done = {"published": 0, "read": 0}
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(act,)) for act in (self._publish, self._read)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, count: int = 5) -> None:
        """Wait until both have succeeded a few times more."""
        before = dict(self.done)
        wait_for(lambda: all(self.done[each] >= before[each] + count for each in before), f"more than {self.failed}")

    def _run(self, act: Callable[[], requests.Response]) -> None:
        while not self._ended.is_set():
            answer = act()
            if answer.ok:
                self.done["read" if answer.request.method == "GET" else "published"] += 1
            # What rclone's store takes too long for on a busy machine.
            elif "in time" not in answer.text:
                self.failed.append(f"{answer.status_code} {answer.text}")
            time.sleep(0.02)

    def _publish(self) -> requests.Response:
        file = make_wheel(self._pod.secret.parent, "load", f"{self.done['published']}.0", os.urandom(10_000))
        body, content_type = multipart(file)
        return self._pod.gateway.request("POST", "/", *PUBLISHER, data=body, headers={"Content-Type": content_type})

    def _read(self) -> requests.Response:
        file = self._files[self.done["read"] % len(self._files)]
        (self._pod.server.packages / file.name).unlink(missing_ok=True)
        return self._pod.gateway.get(f"/packages/{file.name}", *READER)


def test_keys_rotate_without_a_restart_and_without_a_failed_request(tmp_path: Path) -> None:
    with Pod(tmp_path, with_door=True) as pod:
        files = [make_wheel(tmp_path, "read", f"{number}.0", os.urandom(300_000)) for number in range(4)]
        for file in files:
            body, content_type = multipart(file)
            form = {"data": body, "headers": {"Content-Type": content_type}}
            wait_for(lambda form=form: pod.gateway.request("POST", "/", *PUBLISHER, **form).ok, "an upload")  # type: ignore[misc]
        processes = [program.process for program in (pod.rclone, pod.fetching, pod.server)]
        with Load(pod, files) as load:
            load.goes_on()
            assert set(pod.door.requests) == {KEYS["access_key_id"]}
            pod.give(NEW_KEYS)
            # While both are valid, what is on its way ends with those it has begun with.
            wait_for(lambda: set(pod.door.requests[-20:]) == {NEW_KEYS["access_key_id"]}, "the new keys")
            pod.door.refusal = Refusal(403, "InvalidAccessKeyId", key=KEYS["access_key_id"])
            count = len(pod.door.requests)
            load.goes_on()
            wait_for(lambda: len(pod.door.requests) > count + 40, "requests with the new keys")
        assert load.failed == []
        assert set(pod.door.requests[count:]) == {NEW_KEYS["access_key_id"]}
        assert processes == [program.process for program in (pod.rclone, pod.fetching, pod.server)]
        assert all(process and process.poll() is None for process in processes)
        logs = [pod.rclone.log, pod.fetching.log, pod.server.log]
        for key in (KEYS["secret_access_key"], NEW_KEYS["secret_access_key"]):
            assert not any(key in log for log in logs)
        assert requests.get(f"{pod.server.url}/-/metrics", timeout=PATIENCE).text.count("pypiserver_store_answers 1")
