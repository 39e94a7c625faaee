"""Drills: a backup is restored, served and compared with the registry."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from certificates import Authority
from certificates import put as put_certificate
from gateway_programs import Gateway, Registry, Setup, make_wheel, registry
from programs import Server, free_port, wait_for
from upkeep_programs import Upkeep, yank

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = [f"acme-1.{number}-py3-none-any.whl" for number in range(4)]


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Registry]:
    """A registry with its gateway, which asks for a password."""
    (tmp_path / "built").mkdir()
    with registry(tmp_path / "whole") as found:
        for number in range(4):
            found.upload(make_wheel(tmp_path / "built", "acme", f"1.{number}")).raise_for_status()
        found.upload(make_wheel(tmp_path / "built", "other", "1.0")).raise_for_status()
        yank(found.server, "acme", "1.3", "broken")
        yield found


@pytest.fixture
def drill(tmp_path: Path, whole: Registry) -> Upkeep:
    for each in ("store", "scratch", "reader"):
        (tmp_path / each).mkdir()
    for key, value in {"username": "reader", "password": "reader-password"}.items():
        (tmp_path / "reader" / key).write_text(value)
    environment = {
        "DRILL_URL": whole.gateway.url,
        "DRILL_CREDENTIALS": str(tmp_path / "reader"),
        "DRILL_SCRATCH": str(tmp_path / "scratch"),
        "DRILL_SERVER_PORT": str(free_port()),
    }
    upkeep = Upkeep(tmp_path, whole.server.packages, str(tmp_path / "store"), environment)
    done = upkeep.run("backup")
    assert done.status == 0, done.said
    return upkeep


def _old(packages: Path) -> None:
    """Uploads of a day before, by which the drill knows what the backup has to have."""
    for path in packages.glob("*.whl"):
        os.utime(path, (time.time() - 86400, time.time() - 86400))


def test_a_backup_that_can_be_restored_is_proven(drill: Upkeep) -> None:
    done = drill.run("drill")
    assert done.status == 0, done.said
    assert "5 files on 2 pages are as the registry shows them" in done.said
    assert done.told["reason"] == ""
    assert done.told["files"] == 5
    assert done.told["projects"] == 2


def test_what_has_changed_since_is_no_fault(drill: Upkeep, whole: Registry, tmp_path: Path) -> None:
    whole.upload(make_wheel(tmp_path / "built", "newer", "1.0")).raise_for_status()
    (whole.server.packages / NAMES[0]).unlink()
    yank(whole.server, "acme", "1.1", "late")
    wait_for(
        lambda: NAMES[0] not in whole.gateway.get("/simple/acme/", "reader", "reader-password").text, "the removal"
    )
    done = drill.run("drill")
    assert done.status == 0, done.said
    assert "since then 1 came, 1 went, 1 were withdrawn or brought back" in done.said


def test_a_file_that_the_backup_lacks_is_a_fault(drill: Upkeep, whole: Registry) -> None:
    make_wheel(whole.server.packages, "late", "1.0")
    _old(whole.server.packages)
    wait_for(lambda: "late" in whole.gateway.get("/simple/", "reader", "reader-password").text, "the file")
    done = drill.run("drill")
    assert done.status == 1
    assert done.told["reason"] == "different"
    assert "late-1.0-py3-none-any.whl of late: not in the backup" in done.said


def test_a_damaged_store_is_a_fault(drill: Upkeep, tmp_path: Path) -> None:
    path = tmp_path / "store/files" / NAMES[2]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = drill.run("drill")
    assert (done.status, done.told["reason"]) == (1, "damaged"), done.said


def test_a_registry_that_has_other_content_is_a_fault(drill: Upkeep, whole: Registry) -> None:
    def shown() -> bool:
        return NAMES[1] in whole.gateway.get("/simple/acme/", "reader", "reader-password").text

    (whole.server.packages / NAMES[1]).unlink()
    wait_for(lambda: not shown(), "the removal")
    make_wheel(whole.server.packages, "acme", "1.1", b"another")
    wait_for(shown, "the other file")
    done = drill.run("drill")
    assert (done.status, done.told["reason"]) == (1, "different"), done.said
    assert f"{NAMES[1]}: hashes, size" in done.said


def test_over_tls_with_another_name_than_the_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for each in ("store", "scratch", "reader", "built"):
        (tmp_path / each).mkdir()
    for key, value in {"username": "reader", "password": "reader-password"}.items():
        (tmp_path / "reader" / key).write_text(value)
    with Server(tmp_path / "server") as server:
        gateway = Gateway(
            tmp_path / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=Setup(tls=True),
        )
        put_certificate(gateway.certificates, authority.issue())
        make_wheel(server.packages, "acme", "1.0")
        environment = {
            "DRILL_TLS": "yes",
            "REGISTRY_NAME": "127.0.0.1",
            "DRILL_PORT": str(gateway.https_port),
            "DRILL_CREDENTIALS": str(tmp_path / "reader"),
            "DRILL_AUTHORITY": str(tmp_path / "trusted.crt"),
            "DRILL_SCRATCH": str(tmp_path / "scratch"),
            "DRILL_SERVER_PORT": str(free_port()),
        }
        upkeep = Upkeep(tmp_path, server.packages, str(tmp_path / "store"), environment)
        with gateway:
            assert upkeep.run("backup").status == 0
            unknown = upkeep.run("drill")
            assert (unknown.status, unknown.told["reason"]) == (1, "registry"), unknown.said
            assert "certificate verify failed" in unknown.said
            (tmp_path / "trusted.crt").write_bytes(authority.path.read_bytes())
            # The certificate is for localhost and 127.0.0.1.
            other = upkeep.run("drill", DRILL_TLS_NAME="pypi.example.org")
            assert "Hostname mismatch" in other.said
            named = upkeep.run("drill", DRILL_TLS_NAME="localhost")
            assert named.status == 0, named.said
            assert "1 files on 1 pages are as the registry shows them" in named.said


@pytest.mark.parametrize(("wrong", "reason"), [("password", "denied"), ("address", "registry")])
def test_a_registry_that_cannot_be_asked(wrong: str, reason: str, drill: Upkeep, tmp_path: Path) -> None:
    (tmp_path / "reader/password").write_text("another" if wrong == "password" else "reader-password")
    variables = {"DRILL_URL": f"http://127.0.0.1:{free_port()}"} if wrong == "address" else {}
    done = drill.run("drill", **variables)
    assert (done.status, done.told["reason"]) == (1, reason), done.said


def test_without_a_backup_there_is_nothing_to_try(drill: Upkeep, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = drill.run("drill", BACKUP_STORE=str(tmp_path / "none"))
    assert (done.status, done.told["reason"]) == (1, "missing"), done.said
