"""What backups that were killed have left of uploads in parts is ended by the next ones, and nothing else is."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backup.parts import place_of
from programs import PATIENCE, wait_for
from refusing_store import READ_ONLY, Refusal
from remote_programs import RemoteStore, leave_parts, obscured, uploads_in_parts
from store_programs import BUCKET, Place
from upkeep_programs import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from programs import Server
    from refusing_store import RefusingStore

COPIES = f"store:{BUCKET}/team/copies"
CRYPT = {"RCLONE_CONFIG_CRYPT_TYPE": "crypt", "RCLONE_CONFIG_CRYPT_REMOTE": COPIES}
OWN = ("team/copies/files/a-1.0.zip", "team/copies/versions/0/a-1.0.zip", "team/copies/manifests/x.jsonl")
FOREIGN = ("team/copies-old/files/a-1.0.zip", "team/copies", "copies/files/a-1.0.zip", "team/copies.zip")
YOUNG = "team/copies/files/b-1.0.zip"
COMPLAINT = "the parts of unfinished uploads cannot be removed"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, stack)


@pytest.fixture
def store(place: Place) -> Iterator[RefusingStore]:
    with place.refusing() as store:
        store.old = {*OWN, *FOREIGN}
        yield store


@pytest.fixture
def upkeep(place: Place, store: RefusingStore, server: Server, tmp_path: Path) -> Upkeep:
    """Runs whose store is that one; what they read of uploads goes by it."""
    values = {name: value for name, value in place.environment.items() if not name.endswith("ENDPOINT")}
    values["RCLONE_CONFIG_STORE_ENDPOINT"] = f"http://127.0.0.1:{store.port}"
    return Upkeep(tmp_path / "runs", server.packages, COPIES, values)


def left(place: Place) -> list[str]:
    """The keys of unfinished uploads of the bucket."""
    return [each.removeprefix(f"{BUCKET}/") for each in uploads_in_parts(place.environment, f"store:{BUCKET}")]


def leave(place: Place, *keys: str) -> None:
    for key in keys:
        leave_parts(place.environment, f"store:{BUCKET}/{key}")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_what_is_old_is_ended_in_the_folder_of_the_backup_alone(encrypted: bool, upkeep: Upkeep, place: Place) -> None:
    leave(place, *OWN, *FOREIGN, YOUNG)
    crypt = {**CRYPT, "BACKUP_STORE": "crypt:", "RCLONE_CONFIG_CRYPT_PASSWORD": obscured("the password")}
    done = upkeep.run("backup", **(crypt if encrypted else {}))
    assert done.status == 0, done.said
    assert left(place) == sorted((*FOREIGN, YOUNG))
    assert all(f'removing pending multipart upload for bucket "{BUCKET}" key "{key}"' in done.said for key in OWN)
    assert COMPLAINT not in done.said


def test_a_backup_that_has_a_bucket_has_all_of_it(upkeep: Upkeep, place: Place) -> None:
    leave(place, OWN[0], FOREIGN[0], YOUNG)
    done = upkeep.run("backup", BACKUP_STORE=f"store:{BUCKET}")
    assert done.status == 0, done.said
    assert left(place) == [YOUNG]


def test_however_rclone_is_told_to_write_its_log(upkeep: Upkeep, place: Place, tmp_path: Path) -> None:
    leave(place, OWN[0])
    done = upkeep.run("backup", RCLONE_LOG_LEVEL="ERROR", RCLONE_LOG_FILE=str(tmp_path / "log"))
    assert done.status == 0, done.said
    assert left(place) == []
    assert f'key "{OWN[0]}"' in done.said


@pytest.mark.parametrize("kind", ["restore", "drill"])
def test_only_a_backup_ends_any(kind: str, upkeep: Upkeep, place: Place) -> None:
    leave(place, OWN[0])
    upkeep.run(kind)
    assert left(place) == [OWN[0]]


def test_what_a_run_was_killed_at_is_ended_once_it_is_old(
    upkeep: Upkeep, place: Place, store: RefusingStore, server: Server
) -> None:
    (server.packages / "large-1.0.tar.gz").write_bytes(os.urandom(25_000_000))
    in_parts = {"RCLONE_S3_UPLOAD_CUTOFF": "5Mi", "RCLONE_S3_UPLOAD_CONCURRENCY": "1", "BACKUP_BANDWIDTH": "2M"}
    process = upkeep.launch("backup", **in_parts)
    key = "team/copies/files/large-1.0.tar.gz"
    wait_for(lambda: left(place) == [key], "the upload")
    # As all of a container that is killed.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert left(place) == [key]
    assert upkeep.run("backup").status == 0
    assert left(place) == [key]
    store.old = {key}
    assert upkeep.run("backup").status == 0
    assert left(place) == []
    assert (place.bucket / key).read_bytes() == (server.packages / "large-1.0.tar.gz").read_bytes()


@pytest.mark.parametrize(
    "refusal",
    [
        READ_ONLY._replace(methods=frozenset({"DELETE"})),
        Refusal(501, "NotImplemented", asked_for="uploads"),
        Refusal(403, "AccessDenied", asked_for="uploads"),
    ],
    ids=["no right to end", "no such request", "no right to look"],
)
def test_a_store_that_does_not_let_it_is_told_of_and_costs_nothing_else(
    refusal: Refusal, upkeep: Upkeep, place: Place, store: RefusingStore
) -> None:
    leave(place, OWN[0])
    store.refusal = refusal
    done = upkeep.run("backup")
    assert done.status == 0, done.said
    assert done.told["reason"] == ""
    (line,) = (line for line in done.said.splitlines() if COMPLAINT in line)
    assert refusal.code in line
    store.refusal = None
    assert left(place) == [OWN[0]]


def test_a_store_without_such_uploads_is_not_asked_for_any(server: Server, tmp_path: Path) -> None:
    (tmp_path / "dav").mkdir()
    with RemoteStore("webdav", tmp_path / "dav") as dav:
        address = f"http://localhost:{dav.port}"
        options = {"TYPE": "webdav", "VENDOR": "other", "URL": address}
        values = {f"RCLONE_CONFIG_STORE_{name}": value for name, value in options.items()}
        done = Upkeep(tmp_path / "runs", server.packages, "store:copies", values).run("backup")
    assert done.status == 0, done.said
    assert COMPLAINT not in done.said


S3 = {"RCLONE_CONFIG_STORE_TYPE": "s3"}
PLACES = {
    "store:b/copies": ('store,encoding="InvalidUtf8,Dot":b/copies\N{FULLWIDTH SOLIDUS}', S3),
    "store:b/copies/": ('store,encoding="InvalidUtf8,Dot":b/copies\N{FULLWIDTH SOLIDUS}', S3),
    "store:b": ('store,encoding="InvalidUtf8,Dot":b', S3),
    "store:b/c": (
        'store,encoding="Ctl,Dot":b/c\N{FULLWIDTH SOLIDUS}',
        S3 | {"RCLONE_CONFIG_STORE_ENCODING": "Slash,Ctl,Dot"},
    ),
    "store:b/d": ('store,encoding="None":b/d\N{FULLWIDTH SOLIDUS}', S3 | {"RCLONE_CONFIG_STORE_ENCODING": "Slash"}),
    "crypt:": ('store,encoding="InvalidUtf8,Dot":b/copies\N{FULLWIDTH SOLIDUS}', S3 | CRYPT),
    # All buckets of the account.
    "store:": (None, S3),
    "store:/": (None, S3),
    # What is encrypted to which name nobody says here.
    "crypt:copies": (None, S3 | CRYPT),
    "/backup": (None, {}),
    "/backup:b/copies": (None, S3),
    "store:copies": (None, {"RCLONE_CONFIG_STORE_TYPE": "sftp"}),
    "other:b/copies": (None, S3),
    ":s3:b/copies": (None, S3),
    'store,region="a:b":b/copies': (None, S3),
}


@pytest.mark.parametrize("fs", PLACES)
def test_where_uploads_may_be(fs: str) -> None:
    found, environment = PLACES[fs]
    environment = {name: value.replace(COPIES, "store:b/copies") for name, value in environment.items()}
    assert place_of(fs, environment) == found


def test_what_encrypts_itself_is_nowhere() -> None:
    assert place_of("crypt:", {**CRYPT, "RCLONE_CONFIG_CRYPT_REMOTE": "crypt:"}) is None
