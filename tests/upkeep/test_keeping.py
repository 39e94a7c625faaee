"""Backups: what they keep, what they never lose, and what they refuse."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

import remote_programs
from backup import manifest
from backup.problems import RunError, reason_of
from backup.settings import Settings
from gateway_programs import make_wheel
from programs import wait_for
from remote_programs import obscured
from upkeep_programs import Upkeep, content

if TYPE_CHECKING:
    from pathlib import Path

    from backup.manifest import Manifest
    from programs import Server

PACKAGES = 11
RECORDS = 4


def manifests(store: Path) -> list[Manifest]:
    return [manifest.read(path.name, path.read_text()) for path in sorted((store / "manifests").iterdir())]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_everything_of_value_is_kept_with_its_hash(upkeep: Upkeep, server: Server, store: Path) -> None:
    done = upkeep.run("backup")
    assert done.status == 0, done.said
    (made,) = manifests(store)
    kept = content(server.packages)
    (removed,) = (server.packages / ".pypiserver/removed").iterdir()
    names = ("volume", "yanked/acme@1.3", "owners/acme", f"removed/{removed.name}")
    records = {f".pypiserver/{name}" for name in names}
    assert {*records, "third-3.0.tar.gz.asc"} <= set(kept)
    assert {path: entry.sha256 for path, entry in made.entries.items()} == {
        path: hashlib.sha256(data).hexdigest() for path, data in kept.items()
    }
    # Whoever has no program of ours copies the folder back.
    assert content(store / "files") == kept
    assert made.volume == kept[".pypiserver/volume"].decode().strip()
    assert done.told["reason"] == ""
    assert done.told["packages"] == PACKAGES
    assert done.told["files"] == PACKAGES + RECORDS
    assert done.told["bytes"] == sum(map(len, kept.values()))


def test_what_is_of_the_moment_or_secret_is_not_kept(upkeep: Upkeep, server: Server, store: Path) -> None:
    (server.packages / ".pypiserver/initial-password").write_text("secret")
    (server.packages / ".pypiserver/unfinished").mkdir(exist_ok=True)
    (server.packages / ".pypiserver/unfinished/half-1.0.tar.gz").write_bytes(b"unfinished")
    (server.packages / "half-1.0.tar.gz").write_bytes(b"ha")
    (server.packages / "link-1.0.tar.gz").symlink_to("third-3.0.tar.gz")
    (server.packages / "below").mkdir()
    (server.packages / "below" / "deep-1.0.tar.gz").write_bytes(b"deep")
    assert upkeep.run("backup").status == 0
    (made,) = manifests(store)
    assert "below/deep-1.0.tar.gz" in made.entries
    names = {path.name for path in (store / "files").rglob("*") if path.is_file()}
    assert names & {"initial-password", "half-1.0.tar.gz", "link-1.0.tar.gz", "in-use", "acme.json"} == set()


def test_a_second_run_sends_what_is_new(upkeep: Upkeep, server: Server, store: Path) -> None:
    assert upkeep.run("backup").status == 0
    before = {path: path.stat().st_ino for path in (store / "files").rglob("*") if path.is_file()}
    make_wheel(server.packages, "acme", "9.0")
    later = upkeep.run("backup")
    assert later.status == 0, later.said
    after = {path: path.stat().st_ino for path in (store / "files").rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {"acme-9.0-py3-none-any.whl"}
    assert all(after[path] == number for path, number in before.items())
    first, second = manifests(store)
    assert second.entries.keys() - first.entries.keys() == {"acme-9.0-py3-none-any.whl"}


def test_a_source_that_is_suddenly_emptier_stops_the_run(upkeep: Upkeep, server: Server, store: Path) -> None:
    assert upkeep.run("backup").status == 0
    kept = content(store)
    for number in range(2):
        (server.packages / f"acme-1.{number}-py3-none-any.whl").unlink()
    done = upkeep.run("backup")
    assert done.status == 1
    assert f"2 of {PACKAGES} files are gone and 0 have other content" in done.said
    assert done.told["reason"] == "emptier"
    # The figures are those of the backup that there is.
    assert done.told["packages"] == PACKAGES
    assert content(store) == kept
    # Not by habit, but once.
    (first,) = manifests(store)
    assert upkeep.run("backup", BACKUP_ACCEPTED=first.made).status == 0
    assert manifests(store)[-1].packages == PACKAGES - 2
    (server.packages / "acme-1.5-py3-none-any.whl").unlink()
    assert upkeep.run("backup", BACKUP_ACCEPTED=first.made, BACKUP_MOST_LOST_PERCENT="0").told["reason"] == "emptier"
    # What is gone is still there.
    assert (
        content(store / "files").items()
        >= {path.removeprefix("files/"): data for path, data in kept.items() if path.startswith("files/")}.items()
    )


@pytest.mark.parametrize("how", ["emptied", "not mounted", "another"])
def test_another_volume_in_its_place_is_not_backed_up(how: str, upkeep: Upkeep, server: Server, store: Path) -> None:
    assert upkeep.run("backup").status == 0
    kept = content(store)
    server.kill()
    server.packages.rename(server.packages.with_name("elsewhere"))
    server.packages.mkdir()
    if how != "not mounted":
        (server.packages / ".pypiserver").mkdir()
        identity = manifests(store)[0].volume if how == "emptied" else "another"
        (server.packages / ".pypiserver/volume").write_text(identity)
    done = upkeep.run("backup")
    assert done.status == 1
    assert done.told["reason"] == {"emptied": "emptier", "not mounted": "volume", "another": "other-volume"}[how]
    assert content(store) == kept


def test_other_content_under_a_name_is_kept_beside_the_first(upkeep: Upkeep, server: Server, store: Path) -> None:
    assert upkeep.run("backup").status == 0
    path = server.packages / "acme-1.4-py3-none-any.whl"
    before = path.read_bytes()
    path.unlink()
    make_wheel(server.packages, "acme", "1.4", b"another")
    assert upkeep.run("backup").told["reason"] == "emptier"
    done = upkeep.run("backup", BACKUP_MOST_LOST_PERCENT="50")
    assert done.status == 0, done.said
    first, second = (made.entries[path.name] for made in manifests(store))
    assert first.stored != second.stored
    assert (store / first.stored).read_bytes() == before
    assert (store / second.stored).read_bytes() == path.read_bytes()
    # And back again: neither is stored twice.
    path.write_bytes(before)
    assert upkeep.run("backup", BACKUP_MOST_LOST_PERCENT="50").status == 0
    assert manifests(store)[-1].entries[path.name].stored == first.stored


def test_a_file_that_is_not_what_the_index_says_is_told(upkeep: Upkeep, server: Server, store: Path) -> None:
    name = "acme-1.4-py3-none-any.whl"
    _until_known(server, "acme")
    path = server.packages / name
    times = path.stat()
    data = bytearray(path.read_bytes())
    assert upkeep.run("backup").status == 0
    data[200] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    # Nobody reads what looks as before; only where it is to be kept anew.
    (store / "files" / name).unlink()
    done = upkeep.run("backup")
    assert done.status == 1
    assert done.told["reason"] == "unread", done.said
    assert not (store / "files" / name).exists()
    assert name not in manifests(store)[-1].entries


def test_what_the_index_does_not_know_a_file_as_is_not_sent(upkeep: Upkeep, server: Server, store: Path) -> None:
    name = "acme-1.4-py3-none-any.whl"
    _until_known(server, "acme")
    path = server.packages / name
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = upkeep.run("backup")
    assert done.status == 1
    assert "and the index says" in done.said
    assert done.told["reason"] == "unread"
    (made,) = manifests(store)
    assert made.unread == (name,)
    assert name not in made.entries
    assert made.packages == PACKAGES - 1


def _until_known(server: Server, project: str) -> None:
    requests.get(f"{server.url}/simple/{project}/", timeout=20).raise_for_status()
    facts = server.packages / f".pypiserver/facts-1/{project}.json"
    wait_for(lambda: facts.exists() and len(json.loads(facts.read_text())) == 8, "what the index knows")


def test_a_name_that_cannot_be_written_down_makes_a_backup_incomplete(
    upkeep: Upkeep, server: Server, store: Path
) -> None:
    with open(os.fsencode(server.packages) + b"/bad-\xff-1.0.tar.gz", "wb") as file:  # noqa: PTH123
        file.write(b"x")
    done = upkeep.run("backup")
    assert done.status == 1
    assert done.told["reason"] == "unread"
    (made,) = manifests(store)
    assert made.packages == PACKAGES
    assert len(made.unread) == 1


def test_manifests_are_limited_and_files_stay(upkeep: Upkeep, server: Server, store: Path) -> None:
    gone = server.packages / "other-2.0-py3-none-any.whl"
    for number in range(4):
        assert upkeep.run("backup", BACKUP_KEEP="2").status == 0
        _later()
        if number == 0:
            gone.unlink()
    found = manifests(store)
    assert len(found) == 2
    assert not any(gone.name in made.entries for made in found)
    assert (store / "files" / gone.name).exists()
    # By choice alone, and then what no manifest names.
    assert upkeep.run("backup", BACKUP_KEEP="2", BACKUP_PRUNE="yes").status == 0
    assert not (store / "files" / gone.name).exists()
    assert content(store / "files") == content(server.packages)


def test_nothing_is_pruned_that_an_older_manifest_names(upkeep: Upkeep, server: Server, store: Path) -> None:
    gone = server.packages / "other-2.0-py3-none-any.whl"
    assert upkeep.run("backup").status == 0
    gone.unlink()
    _later()
    assert upkeep.run("backup", BACKUP_PRUNE="yes").status == 0
    assert (store / "files" / gone.name).exists()
    # A manifest that cannot be read may name anything.
    first = min((store / "manifests").iterdir())
    first.write_text(first.read_text()[:-20])
    _later()
    done = upkeep.run("backup", BACKUP_PRUNE="yes")
    assert done.told["reason"] == "manifest"
    assert (store / "files" / gone.name).exists()


def _later() -> None:
    """Wait until the next backup has another second for its name."""
    begun = int(time.time())
    wait_for(lambda: int(time.time()) > begun, "the next second")


def test_a_run_that_was_killed_is_gone_on_with(upkeep: Upkeep, server: Server, store: Path) -> None:
    (server.packages / "large-1.0.tar.gz").write_bytes(os.urandom(30_000_000))
    process = upkeep.launch("backup", BACKUP_BANDWIDTH="10M")
    wait_for(lambda: any((store / "files").glob("*.whl")), "the first file")
    process.send_signal(signal.SIGTERM)
    stopped = upkeep.ended(process, "backup")
    assert stopped.status == 1
    assert stopped.told["reason"] == "stopped"
    assert not (store / "manifests").exists()
    again = upkeep.run("backup")
    assert again.status == 0, again.said
    assert manifests(store)[0].packages == PACKAGES + 1
    assert {path: data for path, data in content(store / "files").items() if not path.endswith(".partial")} == content(
        server.packages
    )


def test_half_a_file_of_another_run_is_not_taken_for_it(upkeep: Upkeep, server: Server, store: Path) -> None:
    name = "other-2.0-py3-none-any.whl"
    data = (server.packages / name).read_bytes()
    (store / "files").mkdir()
    for wrong in (data[:-3], data[:-1] + b"x"):
        (store / "files" / name).write_bytes(wrong)
        done = upkeep.run("backup")
        assert done.status == 0, done.said
        entry = manifests(store)[-1].entries[name]
        assert (store / entry.stored).read_bytes() == data
        assert (store / "files" / name).read_bytes() == wrong
        for path in (store / "manifests").iterdir():
            path.unlink()


def test_a_file_that_the_store_has_lost_is_sent_again(upkeep: Upkeep, server: Server, store: Path) -> None:
    name = "other-2.0-py3-none-any.whl"
    assert upkeep.run("backup").status == 0
    (store / "files" / name).unlink()
    assert upkeep.run("backup").status == 0
    assert (store / "files" / name).read_bytes() == (server.packages / name).read_bytes()


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"BACKUP_STORE": ""}, "BACKUP_STORE is not set"),
        ({"BACKUP_KEEP": "0"}, "BACKUP_KEEP is '0'; it must be a number of at least 1"),
        ({"BACKUP_MOST_LOST_PERCENT": "-1"}, "BACKUP_MOST_LOST_PERCENT is '-1'"),
        ({"BACKUP_PRUNE": "true"}, "BACKUP_PRUNE is 'true'; it must be one of no, yes"),
        ({"RESTORE_DIFFERING": "overwrite"}, "it must be one of refuse, keep, replace"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(variables: dict[str, str], reason: str) -> None:
    with pytest.raises(RunError, match=r"must be|is not set") as error:
        Settings.from_environment({"BACKUP_STORE": "store:x", **variables})
    assert reason in str(error.value)


class TestBucket:
    """Against a store that speaks S3."""

    @pytest.fixture
    def environment(self, bucket: remote_programs.RemoteStore) -> dict[str, str]:
        options = {
            **remote_programs.s3_options(bucket),
            **remote_programs.KEYS,
            "type": "s3",
            "no_check_bucket": "true",
        }
        return {f"RCLONE_CONFIG_STORE_{name.upper()}": value for name, value in options.items()}

    @pytest.fixture
    def bucket(self, tmp_path: Path) -> remote_programs.RemoteStore:
        store = remote_programs.s3(tmp_path / "buckets")
        (store.directory / "there").mkdir()
        return store

    def test_a_bucket_has_everything(
        self, tmp_path: Path, server: Server, bucket: remote_programs.RemoteStore, environment: dict[str, str]
    ) -> None:
        upkeep = Upkeep(tmp_path, server.packages, "store:there/team", environment)
        with bucket:
            first = upkeep.run("backup")
            assert first.status == 0, first.said
            _later()
            make_wheel(server.packages, "acme", "9.0")
            second = upkeep.run("backup")
            assert second.status == 0, second.said
        assert content(bucket.directory / "there/team/files") == content(server.packages)

    @pytest.mark.parametrize("wrong", ["keys", "bucket", "away"])
    def test_a_store_that_does_not_take_it_says_why(
        self,
        wrong: str,
        tmp_path: Path,
        server: Server,
        bucket: remote_programs.RemoteStore,
        environment: dict[str, str],
    ) -> None:
        upkeep = Upkeep(tmp_path, server.packages, "store:there/team", environment)
        if wrong == "away":
            done = upkeep.run("backup")
        else:
            with bucket:
                done = (
                    upkeep.run("backup", RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY="x")
                    if wrong == "keys"
                    else upkeep.run("backup", BACKUP_STORE="store:missing/team")
                )
        assert done.status == 1
        assert done.told["reason"] == {"keys": "denied", "bucket": "missing", "away": "away"}[wrong], done.said
        assert "succeeded" not in done.told

    def test_a_store_that_goes_away_meanwhile(
        self, tmp_path: Path, server: Server, bucket: remote_programs.RemoteStore, environment: dict[str, str]
    ) -> None:
        (server.packages / "large-1.0.tar.gz").write_bytes(os.urandom(20_000_000))
        upkeep = Upkeep(tmp_path, server.packages, "store:there/team", environment)
        with bucket:
            process = upkeep.launch("backup", BACKUP_BANDWIDTH="5M")
            wait_for(lambda: any(bucket.directory.rglob("*.whl")), "the first file")
            bucket.stop()
            done = upkeep.ended(process, "backup")
            assert done.told["reason"] == "away", done.said
            bucket.start()
            again = upkeep.run("backup")
        assert again.status == 0, again.said
        kept = content(bucket.directory / "there/team/files")
        # What the program that is the store had begun, and left when it was killed.
        kept = {path: data for path, data in kept.items() if not path.startswith(".rclone_temp_put_")}
        assert kept == content(server.packages)

    def test_nobody_reads_what_is_encrypted(
        self, tmp_path: Path, server: Server, bucket: remote_programs.RemoteStore, environment: dict[str, str]
    ) -> None:
        crypt = {
            "RCLONE_CONFIG_CRYPT_TYPE": "crypt",
            "RCLONE_CONFIG_CRYPT_REMOTE": "store:there/team",
            "RCLONE_CONFIG_CRYPT_PASSWORD": obscured("the password"),
        }
        upkeep = Upkeep(tmp_path, server.packages, "crypt:", {**environment, **crypt})
        with bucket:
            assert upkeep.run("backup").status == 0
            stored = content(bucket.directory)
            assert len(stored) == PACKAGES + RECORDS + 1
            assert not any(b"acme" in data or "acme" in path for path, data in stored.items())
            restored = tmp_path / "restored"
            restored.mkdir()
            other = Upkeep(tmp_path / "other", restored, "crypt:", {**environment, **crypt})
            assert other.restore().status == 0
            wrong = other.run("restore", RCLONE_CONFIG_CRYPT_PASSWORD=obscured("another"))
        assert content(restored) == content(server.packages)
        assert wrong.status == 1
        assert "has no backup of any time" in wrong.said


@pytest.mark.parametrize(
    "said",
    [
        "write tcp 10.244.1.41:43198->10.96.75.159:9000: write: broken pipe",
        "write tcp 10.244.1.41:43198->10.96.75.159:9000: use of closed network connection",
        "https response error StatusCode: 0, RequestID: , HostID: , request send failed",
    ],
)
def test_a_store_that_goes_in_the_middle_of_a_request_is_away(said: str) -> None:
    assert reason_of(f'Put "http://store:9000/copies/files/a.whl": {said}') == "away"


def test_no_run_reads_what_it_does_not_need(upkeep: Upkeep) -> None:
    """It takes as long as all the rest of a start."""
    unneeded = {"passlib", "watchdog", "pypiserver.config"}
    command = [sys.executable, "-c", "import sys, backup.runs; print(*sys.modules)"]
    done = subprocess.run(command, check=True, env=upkeep.environment, capture_output=True, text=True)
    assert "pypiserver.pkg_helpers" in done.stdout.split()
    assert unneeded.isdisjoint(done.stdout.split())
