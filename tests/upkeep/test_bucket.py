"""Backups of a registry whose packages are in a store: read there by its catalogue, and brought back into it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests

from backup import manifest
from gateway_programs import make_wheel
from programs import PATIENCE, free_port, upload, wait_for
from remote_programs import KEYS, obscured
from store_programs import BUCKET, Place, s3_remote
from store_samples import metric
from upkeep_programs import Upkeep, content, yank

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backup.manifest import Manifest
    from programs import Server

ACME = [f"acme-1.{number}-py3-none-any.whl" for number in range(6)]
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
COPIES = f"store:{BUCKET}/copies"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, stack)


@pytest.fixture
def server(place: Place, tmp_path: Path) -> Server:
    """A registry with six files, one of them withdrawn, and a signature that somebody has put there."""
    (tmp_path / "built").mkdir()
    server = place.start(ALLOW_REMOVAL="yes", REMOVED_NAMES="free", BACKUP_MAX_AGE_SECONDS="86400")
    for number in range(6):
        path = make_wheel(tmp_path / "built", "acme", f"1.{number}", bytes([number]) * 30_000)
        publish(server, path.name, path.read_bytes())
    place.hand.write(f"{ACME[0]}.asc", b"a signature")
    wait_for(lambda: requests.get(f"{server.url}/-/stored/{ACME[0]}.asc", timeout=PATIENCE).ok, "the signature")
    yank(server, "acme", "1.3", "broken")
    return server


@pytest.fixture
def upkeep(place: Place, server: Server, tmp_path: Path) -> Upkeep:
    """Runs about it, which keep copies beside it."""
    assert server.url
    return runs(place, tmp_path)


def publish(server: Server, name: str, data: bytes) -> None:
    """As clients do: rclone's own S3 server answers 500 now and then when others write beside."""
    wait_for(lambda: upload(server.url, name, data).status_code in {200, 409}, name)


def runs(place: Place, directory: Path, source: str = f"{BUCKET}/pypi") -> Upkeep:
    values = {
        f"RCLONE_CONFIG_{remote}_{name.upper()}": value
        for remote in ("SOURCE", "STORE")
        for name, value in s3_remote(place.way.port).items()
    }
    own = {"BACKUP_SOURCE": f"source:{source}", "BACKUP_CONTROL_PORT": str(free_port()), "HOME": str(directory)}
    return Upkeep(directory / "runs", directory / "nothing", COPIES, values | own)


def files_of(server: Server) -> dict[str, dict[str, object]]:
    page = requests.get(f"{server.url}/simple/acme/", headers=JSON, timeout=PATIENCE)
    return {each["filename"]: each for each in page.json()["files"]} if page.ok else {}


def manifests(place: Place) -> list[Manifest]:
    paths = sorted((place.bucket / "copies/manifests").glob("*.jsonl"))
    return [manifest.read(path.name, path.read_text()) for path in paths]


def told(server: Server, reason: str) -> bool:
    page = requests.get(f"{server.url}/-/metrics", timeout=PATIENCE).text
    return f'pypiserver_backup_failed{{reason="{reason}"}} {int(bool(reason))}\n' in page


def test_what_the_catalogue_names_is_kept_with_its_hash(upkeep: Upkeep, place: Place, server: Server) -> None:
    place.hand.write("half-1.0.tar.gz", b"an upload on its way")
    unlisted = {"half-1.0.tar.gz"}
    done = upkeep.run("backup")
    assert done.status == 0, done.said
    (made,) = manifests(place)
    packages = {path for path in made.entries if not path.startswith(".")}
    assert packages - unlisted == {*ACME, f"{ACME[0]}.asc"}
    for path, entry in made.entries.items():
        kept = (place.bucket / "copies" / entry.stored).read_bytes()
        assert (hashlib.sha256(kept).hexdigest(), len(kept)) == (entry.sha256, entry.size), path
    assert ".pypiserver/yanked/acme@1.3" in made.entries
    wait_for(lambda: told(server, ""), "what the server tells of it")
    assert metric(server.url, "pypiserver_backup_files") == len(made.entries)
    # The second run sends what is new.
    publish(server, "late-1.0.tar.gz", b"late")
    assert upkeep.run("backup").status == 0
    later = manifests(place)[-1]
    assert later.entries.keys() - made.entries.keys() - unlisted == {"late-1.0.tar.gz"}


def test_the_first_run_says_nothing_of_errors(upkeep: Upkeep) -> None:
    done = upkeep.run("backup")
    assert done.status == 0, done.said
    assert "ERROR" not in done.said


def test_a_store_that_is_one_account_copies_by_itself(upkeep: Upkeep, place: Place, tmp_path: Path) -> None:
    log = tmp_path / "rclone-of-the-run.log"
    said = {"RCLONE_LOG_FILE": str(log), "RCLONE_LOG_LEVEL": "INFO"}
    done = upkeep.run("backup", RCLONE_SERVER_SIDE_ACROSS_CONFIGS="true", **said)
    assert done.status == 0, done.said
    assert log.read_text().count("Copied (server-side copy)") == len(manifests(place)[0].entries)


def test_a_store_that_is_suddenly_emptier_stops_the_run(upkeep: Upkeep, place: Place, server: Server) -> None:
    assert upkeep.run("backup").status == 0
    before = content(place.bucket / "copies")
    for name in ACME[:3]:
        place.hand.remove(name)
    done = upkeep.run("backup")
    assert done.status == 1
    assert "of 7 files are gone" in done.said, done.said
    assert content(place.bucket / "copies") == before
    wait_for(lambda: told(server, "emptier"), "the reason")


@pytest.mark.parametrize("how", ["no registry", "another"])
def test_another_place_is_not_backed_up(how: str, upkeep: Upkeep, place: Place) -> None:
    assert upkeep.run("backup").status == 0
    before = content(place.bucket / "copies")
    if how == "another":
        place.hand.write(".pypiserver/volume", b"another\n")
    else:
        place.hand.remove(".pypiserver/volume")
    done = upkeep.run("backup")
    assert done.status == 1
    assert ("another volume is in the place" if how == "another" else "is not the place of a registry") in done.said
    assert content(place.bucket / "copies") == before


def test_what_was_damaged_in_the_store_is_told_and_not_kept_as_right(
    upkeep: Upkeep, place: Place, server: Server
) -> None:
    # Before it looks: it would take what somebody puts there for another file.
    server.kill()
    path = place.folder / ACME[2]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    place.hand.write(ACME[2], bytes(data))
    done = upkeep.run("backup")
    assert done.status == 1
    assert f"'{ACME[2]}': its copy has the sha256" in done.said
    (made,) = manifests(place)
    assert ACME[2] not in made.entries
    assert made.unread == (ACME[2],)


def test_a_run_that_was_killed_is_gone_on_with(upkeep: Upkeep, place: Place, server: Server) -> None:
    publish(server, "large-1.0.tar.gz", os.urandom(20_000_000))
    process = upkeep.launch("backup", BACKUP_BANDWIDTH="4M")
    wait_for(lambda: any((place.bucket / "copies").rglob("*.whl")), "the first copy")
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    assert not manifests(place)
    # What it had begun may still go on, as that of another run.
    done = upkeep.run("backup", BACKUP_CONTROL_PORT=str(free_port()))
    assert done.status == 0, done.said
    (made,) = manifests(place)
    assert {*ACME, "large-1.0.tar.gz"} <= made.entries.keys()


def test_two_runs_at_once_keep_the_same(upkeep: Upkeep, place: Place) -> None:
    both = [upkeep.launch("backup"), upkeep.launch("backup", BACKUP_CONTROL_PORT=str(free_port()))]
    ended = [upkeep.ended(each, "backup") for each in both]
    assert 0 in {each.status for each in ended}, [each.said for each in ended]
    for made in manifests(place):
        for entry in made.entries.values():
            kept = (place.bucket / "copies" / entry.stored).read_bytes()
            assert hashlib.sha256(kept).hexdigest() == entry.sha256


@pytest.mark.parametrize("wrong", ["keys", "away"])
def test_a_store_that_cannot_be_read_says_why(wrong: str, upkeep: Upkeep, place: Place) -> None:
    if wrong == "keys":
        done = upkeep.run("backup", RCLONE_CONFIG_SOURCE_SECRET_ACCESS_KEY="another")
    else:
        place.way.be("refused")
        done = upkeep.run("backup")
    assert done.status == 1
    assert ("the registry's store" in done.said) is True, done.said
    assert ("not that of the access key" if wrong == "keys" else "nobody answers at the endpoint") in done.said


def test_an_empty_place_becomes_the_registry_that_was(
    upkeep: Upkeep, place: Place, server: Server, tmp_path: Path
) -> None:
    assert upkeep.run("backup").status == 0
    before = files_of(server)
    elsewhere = runs(place, tmp_path, f"{BUCKET}/new")
    look = elsewhere.run("restore")
    assert "to be restored: 9 files" in look.said, look.said
    assert not list((place.bucket / "new").rglob("*.whl"))
    done = elsewhere.restore()
    assert done.status == 0, done.said
    other = place.start("other", STORE_PATH=f"store:{BUCKET}/new")
    # Times of upload, METADATA and withdrawn versions too.
    assert files_of(other) == before
    metadata = requests.get(f"{other.url}/packages/{ACME[1]}.metadata", timeout=PATIENCE)
    assert hashlib.sha256(metadata.content).hexdigest() == before[ACME[1]]["core-metadata"]["sha256"]  # type: ignore[index]
    assert "to be restored: 0 files" in elsewhere.restore().said
    publish(other, "late-1.0.tar.gz", b"late")


def test_a_registry_that_lives_lists_what_comes_and_goes_on(upkeep: Upkeep, server: Server) -> None:
    assert upkeep.run("backup").status == 0
    before = files_of(server)
    for number in (0, 1):
        form = {":action": "remove_pkg", "name": "acme", "version": f"1.{number}"}
        requests.post(f"{server.url}/", data=form, timeout=PATIENCE).raise_for_status()
    assert len(files_of(server)) == 4
    done = upkeep.restore()
    assert done.status == 0, done.said
    wait_for(lambda: files_of(server) == before, "what was restored")
    # The writer was not put out of its place.
    publish(server, "acme-2.0.tar.gz", b"later")
    assert metric(server.url, "pypiserver_store_fenced") == 0


def test_what_differs_stops_it_unless_somebody_says_what_is_to_be(
    upkeep: Upkeep, place: Place, server: Server, tmp_path: Path
) -> None:
    assert upkeep.run("backup").status == 0
    before = files_of(server)
    form = {":action": "remove_pkg", "name": "acme", "version": "1.0"}
    requests.post(f"{server.url}/", data=form, timeout=PATIENCE).raise_for_status()
    shutil.rmtree(tmp_path / "built")
    (tmp_path / "built").mkdir()
    another = make_wheel(tmp_path / "built", "acme", "1.0", b"another")
    publish(server, another.name, another.read_bytes())
    refused = upkeep.restore()
    assert refused.status == 1
    assert "1 files are there with other content" in refused.said
    assert upkeep.restore(RESTORE_DIFFERING="keep").status == 0
    assert place.hand.read(ACME[0], 10**6) == another.read_bytes()
    replaced = upkeep.restore(RESTORE_DIFFERING="replace")
    assert replaced.status == 0, replaced.said
    wait_for(lambda: files_of(server)[ACME[0]]["hashes"] == before[ACME[0]]["hashes"], "what was")
    found = requests.get(f"{server.url}/packages/{ACME[0]}", timeout=PATIENCE)
    assert not found.ok or {"sha256": hashlib.sha256(found.content).hexdigest()} == before[ACME[0]]["hashes"]


def test_a_damaged_copy_is_not_restored(upkeep: Upkeep, place: Place, tmp_path: Path) -> None:
    assert upkeep.run("backup").status == 0
    path = place.bucket / "copies/files" / ACME[2]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    elsewhere = runs(place, tmp_path, f"{BUCKET}/new")
    done = elsewhere.restore()
    assert done.status == 1
    assert f"1 files of the store are not what was backed up: {ACME[2]}" in done.said
    assert not (place.bucket / "new" / ACME[2]).exists()
    assert (place.bucket / "new" / ACME[1]).exists()


def test_a_store_that_goes_away_while_it_is_restored(
    upkeep: Upkeep, place: Place, server: Server, tmp_path: Path
) -> None:
    for number in range(4):
        publish(server, f"large-{number}.0.tar.gz", os.urandom(6_000_000))
    assert upkeep.run("backup").status == 0
    elsewhere = runs(place, tmp_path, f"{BUCKET}/new")
    process = elsewhere.launch("restore", RESTORE_DRY_RUN="no", RCLONE_BWLIMIT="4M")
    wait_for(lambda: any((place.bucket / "new").rglob("*.whl")), "the first file")
    place.way.be("refused")
    done = elsewhere.ended(process, "restore")
    assert done.status == 1
    assert "the registry's store" in done.said
    place.way.be("open")
    again = elsewhere.restore()
    assert again.status == 0, again.said
    other = place.start("other", STORE_PATH=f"store:{BUCKET}/new")
    assert files_of(other) == files_of(server)
    restored = {path: data for path, data in content(place.bucket / "new").items() if path.startswith("large")}
    assert restored == {path: data for path, data in content(place.folder).items() if path.startswith("large")}


def test_nobody_reads_what_is_encrypted(upkeep: Upkeep, place: Place, tmp_path: Path) -> None:
    crypt = {
        "BACKUP_STORE": "crypt:",
        "RCLONE_CONFIG_CRYPT_TYPE": "crypt",
        "RCLONE_CONFIG_CRYPT_REMOTE": COPIES,
        "RCLONE_CONFIG_CRYPT_PASSWORD": obscured("the password"),
    }
    assert upkeep.run("backup", **crypt).status == 0
    stored = content(place.bucket / "copies")
    assert stored
    assert not any(b"acme" in data or "acme" in path for path, data in stored.items())
    elsewhere = runs(place, tmp_path, f"{BUCKET}/new")
    done = elsewhere.restore(**crypt)
    assert done.status == 0, done.said
    assert (place.bucket / "new" / ACME[4]).read_bytes() == (place.folder / ACME[4]).read_bytes()


def test_keys_are_nowhere_in_what_is_said(upkeep: Upkeep) -> None:
    said = upkeep.run("backup").said
    assert "files" in said
    assert KEYS["secret_access_key"] not in said
