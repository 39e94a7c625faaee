"""Restores: into what is empty and what is alive, as of a date, and never over what nobody spoke of."""

from __future__ import annotations

import os
import re
import shutil
import signal
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
import requests

from backup import manifest
from backup.problems import RunError
from backup.restoring import Plan, Restore
from backup.source import Volume
from backup.store import Store
from backup.target import VolumeTarget
from cdk8s_pypiserver import RestoreSpec, SpecError
from gateway_programs import make_wheel
from programs import PATIENCE, Server, upload, wait_for
from upkeep_programs import Upkeep, content, yank

if TYPE_CHECKING:
    from pathlib import Path

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
ACME = [f"acme-1.{number}-py3-none-any.whl" for number in range(8)]


@pytest.fixture
def store(tmp_path: Path, upkeep: Upkeep) -> Path:
    """A store with a backup of the registry."""
    done = upkeep.run("backup")
    assert done.status == 0, done.said
    return tmp_path / "store"


@pytest.fixture
def empty(tmp_path: Path, store: Path) -> Upkeep:
    """Runs about an empty volume."""
    (tmp_path / "empty").mkdir()
    return Upkeep(tmp_path / "other", tmp_path / "empty", str(store))


def files_of(server: Server, project: str) -> dict[str, dict[str, object]]:
    page = requests.get(f"{server.url}/simple/{project}/", headers=JSON, timeout=PATIENCE)
    return {each["filename"]: each for each in page.json()["files"]} if page.ok else {}


def _onto(root: Path, store: Path) -> Restore:
    kept = Store(str(store))
    return Restore(Volume(root), kept, VolumeTarget(root, kept))


def _planned(restore: Restore, store: Path) -> Plan:
    with Store(str(store)).listing() as there:
        return restore.plan("", there)


def test_first_it_tells_what_it_would_do(empty: Upkeep) -> None:
    done = empty.run("restore")
    assert done.status == 0
    assert "to be restored: 15 files" in done.said
    assert "nothing was restored (RESTORE_DRY_RUN=yes)" in done.said
    assert list(empty.packages.iterdir()) == []


def test_an_empty_volume_becomes_the_registry_that_was(empty: Upkeep, server: Server, tmp_path: Path) -> None:
    done = empty.restore()
    assert done.status == 0, done.said
    assert content(empty.packages) == content(server.packages)
    with Server(tmp_path / "second", {"PACKAGES_DIRECTORY": str(empty.packages)}) as other:
        found, before = files_of(other, "acme"), files_of(server, "acme")
    # Times of upload and withdrawn versions too.
    assert found == before
    assert found[ACME[3]]["yanked"] == "broken"
    again = empty.restore()
    assert again.status == 0
    assert "to be restored: 0 files" in again.said


def test_a_registry_that_lives_lists_what_comes(upkeep: Upkeep, server: Server, store: Path) -> None:
    assert store.is_dir()
    for name in ACME[:3]:
        (server.packages / name).unlink()
    make_wheel(server.packages, "newer", "1.0")
    wait_for(lambda: len(files_of(server, "acme")) == 5, "the removal")
    done = upkeep.restore()
    assert done.status == 0, done.said
    assert "there and not in this backup, left as they are: 1" in done.said
    wait_for(lambda: len(files_of(server, "acme")) == 8, "what was restored")
    assert set(files_of(server, "acme")) == set(ACME)
    assert files_of(server, "newer")


def test_what_differs_stops_it_unless_somebody_says_what_is_to_be(upkeep: Upkeep, server: Server, store: Path) -> None:
    assert store.is_dir()
    first = (server.packages / ACME[0]).read_bytes()
    (server.packages / ACME[0]).write_bytes(b"another")
    (server.packages / ACME[1]).unlink()
    yank(server, "acme", "1.3", "another reason")
    done = upkeep.restore()
    assert done.status == 1
    assert "2 files are there with other content" in done.said
    assert not (server.packages / ACME[1]).exists()
    kept = upkeep.restore(RESTORE_DIFFERING="keep")
    assert kept.status == 0, kept.said
    assert (server.packages / ACME[0]).read_bytes() == b"another"
    assert (server.packages / ACME[1]).exists()
    replaced = upkeep.restore(RESTORE_DIFFERING="replace")
    assert replaced.status == 0, replaced.said
    assert (server.packages / ACME[0]).read_bytes() == first
    wait_for(lambda: files_of(server, "acme")[ACME[3]]["yanked"] == "broken", "the reason that was")


def test_another_name_of_the_same_file_differs(upkeep: Upkeep, server: Server, store: Path) -> None:
    assert store.is_dir()
    path = server.packages / ACME[0]
    path.rename(server.packages / "Acme-1.0.0-py3-none-any.whl")
    assert "1 files are there with other content" in upkeep.restore().said
    assert upkeep.restore(RESTORE_DIFFERING="replace").status == 0
    assert path.exists()
    assert not (server.packages / "Acme-1.0.0-py3-none-any.whl").exists()


def test_a_living_registry_stays_the_volume_that_it_is(empty: Upkeep, tmp_path: Path) -> None:
    with Server(tmp_path / "second", {"PACKAGES_DIRECTORY": str(empty.packages)}) as other:
        identity = (empty.packages / ".pypiserver/volume").read_text()
        assert empty.restore().status == 0
        assert (empty.packages / ".pypiserver/volume").read_text() == identity
        wait_for(lambda: set(files_of(other, "acme")) == set(ACME), "what was restored")
        assert upload(other.url, "late-1.0.tar.gz").ok


def test_as_of_a_date(upkeep: Upkeep, server: Server, store: Path, empty: Upkeep) -> None:
    (first,) = (store / "manifests").iterdir()
    old = first.with_name("20260102T030405Z.jsonl")
    made = manifest.read(first.name, first.read_text())
    old.write_text(manifest.Manifest(old.stem, made.volume, made.entries, made.unread).text())
    first.unlink()
    make_wheel(server.packages, "newer", "1.0")
    assert upkeep.run("backup").status == 0
    early = empty.run("restore", RESTORE_AS_OF="2026-01-01").said
    assert "has no backup of 2026-01-01: 2 manifests, the oldest of 20260102T030405Z" in early
    for moment in ("2026-01-02", "2026-01-02T03:04:05Z"):
        assert "backup of 20260102T030405Z: 15 files" in empty.run("restore", RESTORE_AS_OF=moment).said
    wrong = empty.run("restore", RESTORE_AS_OF="2026-13-01")
    assert wrong.status == 1
    assert "RESTORE_AS_OF is '2026-13-01'; it must be a date or a time of UTC that there is" in wrong.said
    assert "16 files" in empty.run("restore", RESTORE_AS_OF=f"{datetime.now(timezone.utc):%Y-%m-%d}").said
    assert empty.restore(RESTORE_AS_OF="2026-01-02").status == 0
    assert not (empty.packages / "newer-1.0-py3-none-any.whl").exists()


@pytest.mark.parametrize(
    ("found", "moment", "chosen"),
    [
        (["20260101T000000Z.jsonl", "20260102T000000Z.jsonl"], "", "20260102T000000Z.jsonl"),
        (["20260101T000000Z.jsonl", "20260102T000000Z.jsonl"], "2026-01-01", "20260101T000000Z.jsonl"),
        (["20260101T101112Z.jsonl"], "2026-01-01T10:11Z", "20260101T101112Z.jsonl"),
        (["20260101T101112Z.jsonl"], "2026-01-01T10:10Z", None),
        (["20260101T101112Z.jsonl"], "2026-01-01T10:11:12Z", "20260101T101112Z.jsonl"),
        (["20260101T101112Z.jsonl"], "20260101T101112Z", "20260101T101112Z.jsonl"),
        (["20260101T101112Z.jsonl"], "20260101T101111Z", None),
        (["20240229T235959Z.jsonl", "20240301T000000Z.jsonl"], "2024-02-29", "20240229T235959Z.jsonl"),
        (["20260101T101112Z.jsonl", "notes.jsonl", "99999999T999999Z.txt"], "", "20260101T101112Z.jsonl"),
        ([], "", None),
    ],
)
def test_the_manifest_of_a_moment(found: list[str], moment: str, chosen: str | None) -> None:
    assert manifest.as_of(found, moment) == chosen
    assert not moment or RestoreSpec(as_of=moment).as_of == moment


@pytest.mark.parametrize(
    "moment",
    [
        "2026-13-01",
        "2026-02-29",
        "2026-02-30T25:00:00Z",
        "2026-01-01T24:00Z",
        "2026-01-01T10:11:60Z",
        "20261301T000000Z",
        "0026-01-01",
        "2026-1-1",
        "2026-01",
        # Not of UTC, or nobody says so.
        "2026-01-01T10:11",
        "2026-01-01T10:11-02",
        "2026-01-01T10:11:12+02:00",
        "2026-01-01 10:11:12",
        "yesterday",
    ],
)
def test_a_moment_that_there_is_not_is_no_backup(moment: str) -> None:
    with pytest.raises(RunError, match=rf"RESTORE_AS_OF is '{re.escape(moment)}'; it must be a date or a time"):
        manifest.as_of(["20260101T101112Z.jsonl"], moment)
    with pytest.raises(SpecError, match=rf"as_of \('{re.escape(moment)}'\) (must be|is no) (a )?date or (a )?time"):
        RestoreSpec(as_of=moment)


def test_a_moment_that_is_yet_to_come_is_no_backup() -> None:
    now = datetime.now(timezone.utc)
    made = f"{now:%Y%m%dT%H%M%SZ}.jsonl"
    assert manifest.as_of([made], f"{now:%Y-%m-%d}") == made
    for moment in (f"{now + timedelta(days=1):%Y-%m-%d}", f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"):
        with pytest.raises(RunError, match=rf"RESTORE_AS_OF is '{moment}', which is yet to come: it is {now:%Y-%m-%d}"):
            manifest.as_of([made], moment)


def test_a_damaged_file_of_the_store_is_not_restored(empty: Upkeep, store: Path) -> None:
    path = store / "files" / ACME[2]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    done = empty.restore()
    assert done.status == 1
    assert f"1 files of the store are not what was backed up: {ACME[2]}" in done.said
    assert not (empty.packages / ACME[2]).exists()
    # All others are.
    assert len(list(empty.packages.glob("*.whl"))) == 8


def test_a_store_that_lacks_files_is_told_before_anything_is_written(empty: Upkeep, store: Path) -> None:
    (store / "files" / ACME[2]).unlink()
    done = empty.restore()
    assert done.status == 1
    assert f"the store no longer has 1 files of {next((store / 'manifests').iterdir()).name}: {ACME[2]}" in done.said
    assert list(empty.packages.iterdir()) == []


def test_an_incomplete_backup_has_to_be_wanted(upkeep: Upkeep, server: Server, empty: Upkeep) -> None:
    with open(os.fsencode(server.packages) + b"/bad-\xff-1.0.tar.gz", "wb") as file:  # noqa: PTH123
        file.write(b"x")
    assert upkeep.run("backup").status == 1
    done = empty.restore()
    assert done.status == 1
    assert "is not of everything there was" in done.said
    assert list(empty.packages.iterdir()) == []
    assert empty.restore(RESTORE_INCOMPLETE="yes").status == 0
    assert (empty.packages / ACME[0]).exists()


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "another form", "a way out"])
def test_half_a_manifest_is_none(damage: str, empty: Upkeep, store: Path) -> None:
    (path,) = (store / "manifests").iterdir()
    text = path.read_text()
    damaged = {
        "cut": text[: len(text) // 2],
        "changed": text.replace(ACME[1], ACME[1].replace("1.1", "1.9")),
        "empty": "",
        "another form": text.replace('"form": 1', '"form": 2'),
    }
    path.write_text(damaged[damage] if damage in damaged else _leading_out(path.name, text))
    done = empty.restore()
    assert done.status == 1, done.said
    assert path.name in done.said
    assert list(empty.packages.iterdir()) == []


def _leading_out(name: str, text: str) -> str:
    made = manifest.read(name, text)
    entry = made.entries[ACME[0]]
    moved = manifest.Entry("../outside.whl", entry.size, entry.mtime_ns, entry.sha256, entry.stored)
    return manifest.Manifest(made.made, made.volume, {moved.path: moved}).text()


def test_a_manifest_is_read_as_it_was_written() -> None:
    entry = manifest.Entry("a b%20-1.0.tar.gz", 3, 1, "0" * 64, "files/a b%20-1.0.tar.gz")
    made = manifest.Manifest("20260101T000000Z", "volume", {entry.path: entry}, ("unread",))
    assert manifest.read(made.name, made.text()) == made
    with pytest.raises(RunError, match="no sha256"):
        manifest.read("x", manifest.Manifest("x", "v", {"a": manifest.Entry("a", 1, 1, "short", "files/a")}).text())


def test_a_restore_that_was_killed_is_gone_on_with(empty: Upkeep, upkeep: Upkeep, server: Server) -> None:
    (server.packages / "large-1.0.tar.gz").write_bytes(os.urandom(30_000_000))
    assert upkeep.run("backup").status == 0
    process = empty.launch("restore", RESTORE_DRY_RUN="no", BACKUP_BANDWIDTH="10M")
    wait_for(lambda: any(empty.packages.glob("*.whl")), "the first file")
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    assert not (empty.packages / "large-1.0.tar.gz").exists()
    again = empty.restore()
    assert again.status == 0, again.said
    assert content(empty.packages) == content(server.packages)


@pytest.fixture
def no_rclone(tmp_path: Path) -> Path:
    """An rclone that copies nothing, and says more of it than a pipe takes."""
    program = tmp_path / "no-rclone"
    program.write_text(
        '#!/bin/sh\n[ "$1" = copy ] || exec rclone "$@"\n'
        "head --bytes=1000000 /dev/zero | tr '\\0' x >&2\necho >&2\necho 'it cannot' >&2\nexit 5\n"
    )
    program.chmod(0o755)
    return program


def test_a_store_that_says_much_of_its_failure_is_heard_to_the_end(empty: Upkeep, no_rclone: Path) -> None:
    done = empty.restore(BACKUP_PROGRAM=str(no_rclone))
    assert done.status == 1
    assert "no longer gives files: it cannot" in done.said
    assert list(empty.packages.glob("*.whl")) == []


def test_a_list_is_made_meanwhile_and_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    program, begun = tmp_path / "rclone", tmp_path / "begun"
    program.write_text(f"#!/bin/sh\necho $$ > {begun}.new\nmv {begun}.new {begun}\nexec sleep 600\n")
    program.chmod(0o755)
    with Store(str(tmp_path), program=str(program)).listing():
        wait_for(begun.exists, "the start of the program")
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


def test_a_program_that_is_not_there_is_told(empty: Upkeep) -> None:
    done = empty.restore(BACKUP_PROGRAM="/nowhere/rclone")
    assert done.status == 1
    assert "/nowhere/rclone does not start: No such file or directory" in done.said


def test_what_a_run_that_was_ended_has_fetched_is_not_fetched_again(
    empty: Upkeep, server: Server, store: Path, no_rclone: Path
) -> None:
    staged = empty.packages / ".pypiserver/restoring/files"
    shutil.copytree(store / "files", staged)
    done = empty.restore(BACKUP_PROGRAM=str(no_rclone))
    assert done.status == 0, done.said
    assert content(empty.packages) == content(server.packages)


def test_what_a_node_that_died_has_left_is_fetched_anew(empty: Upkeep, server: Server) -> None:
    """Its names are there, and the content that was never written."""
    staged = empty.packages / ".pypiserver/restoring/files"
    staged.mkdir(parents=True)
    (staged / ACME[2]).write_bytes(bytes(30_000))
    done = empty.restore()
    assert done.status == 0, done.said
    assert content(empty.packages) == content(server.packages)


def test_a_volume_that_is_too_small_is_told_before_anything_is_written(
    empty: Upkeep, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.statvfs(empty.packages)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*status[:4], 1, *status[5:])))
    monkeypatch.setenv("RCLONE_CONFIG", "")
    restore = _onto(empty.packages, store)
    with pytest.raises(RunError, match=r"bytes left, and 2\d+ are to be restored; nothing was"):
        restore.run(_planned(restore, store))
    assert list(empty.packages.iterdir()) == []


def test_where_there_are_no_links_it_writes_as_the_server_does(
    empty: Upkeep, server: Server, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a bucket that is mounted."""

    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setenv("RCLONE_CONFIG", "")
    (empty.packages / ACME[0]).write_bytes(b"another")
    restore = _onto(empty.packages, store)
    plan = _planned(restore, store)
    restore.run(plan, differing="replace")
    assert content(empty.packages) == content(server.packages)
    assert not list((empty.packages / ".pypiserver/unfinished").iterdir())
