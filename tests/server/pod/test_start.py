from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pypiserver
import pytest
import requests

from programs import PATIENCE, Server, htpasswd_line, wait_for
from server.access.initial_password import PLACE
from server.pod import start
from server.pod.settings import Settings
from server.volume import notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[..., Server]


def ends(server: Server) -> str:
    """The log of a server that ends with 1 and has never listened."""
    assert server.launch().wait(PATIENCE) == 1
    assert "Listening" not in server.log
    assert "Traceback" not in server.log
    return server.log


@pytest.fixture
def bare(tmp_path: Path) -> Server:
    """A server whose Secret is missing."""
    server = Server(tmp_path / "server")
    for name in ("readers", "publishers"):
        (server.credentials / name).unlink()
    return server


def test_without_credentials_it_says_what_to_make(bare: Server) -> None:
    log = ends(bare)
    for text in ("pypiserver-auth", "`publishers`", "`readers`", "htpasswd -nB", str(bare.credentials)):
        assert text in log


def test_the_secret_is_called_as_in_the_manifests(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", environment={"CREDENTIALS_SECRET": "team-a-users"})
    for name in ("readers", "publishers"):
        (server.credentials / name).unlink()
    assert "create secret generic team-a-users --from-file" in ends(server)


def test_the_secret_belongs_to_the_namespace_that_is_known(bare: Server) -> None:
    bare.environment["REGISTRY_NAMESPACE"] = "team-a"
    assert "create secret generic pypiserver-auth --namespace team-a --from-file=publishers" in ends(bare)


def test_readers_alone_are_not_enough(bare: Server) -> None:
    bare.add_user("readers", "rita", "secret")
    assert "publishers has no user" in ends(bare)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (
            {"PUBLISH_METHOD": "store", "STORE_PATH": "store:bucket", "WRITERS": "many"},
            "PUBLISH_METHOD is store and WRITERS is many: one server writes to a store",
        ),
        (
            {"PUBLISH_METHOD": "store", "STORE_PATH": "store:bucket", "INITIAL_PASSWORD": "yes"},
            "INITIAL_PASSWORD is yes and PUBLISH_METHOD is store: the password would be lost with the pod",
        ),
        ({"PODS": "many"}, "PODS is many and WRITERS is one: several pods cannot write to this storage"),
        (
            {"INITIAL_PASSWORD": "yes", "WRITERS": "many"},
            "INITIAL_PASSWORD is yes and WRITERS is many: the password would be kept on a volume that others can read",
        ),
    ],
)
def test_what_a_spec_refuses_does_not_start(environment: dict[str, str], reason: str, bare: Server) -> None:
    bare.environment.update(environment)
    assert reason in ends(bare)
    assert not list(bare.packages.rglob("*"))


def test_a_setting_that_is_wrong_is_named(bare: Server) -> None:
    bare.environment["PUBLISH_METHOD"] = "copy"
    assert "PUBLISH_METHOD is 'copy'; it must be one of link, direct" in ends(bare)


def test_a_volume_that_is_missing_is_named(bare: Server) -> None:
    bare.environment["PACKAGES_DIRECTORY"] = "/nonexistent"
    assert "the package volume cannot be read" in ends(bare)


def test_a_volume_that_hangs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bucket that is missing, or a store that is away, holds GeeseFS up for as long as it is."""
    settings = Settings(
        packages_directory=tmp_path,
        pages_directory=tmp_path / "pages",
        credentials_directory=tmp_path / "auth",
        ready_timeout_seconds=0.05,
    )
    printed: list[str] = []

    def told() -> str:
        printed.append(capsys.readouterr().err)
        return printed[-1]

    def hang(path: Path) -> Iterator[Path]:
        wait_for(told, "a line about the volume")
        return iter((path,))

    monkeypatch.setattr(type(tmp_path), "iterdir", hang)
    with pytest.raises(start.StartError, match="no credentials"):
        start.check(settings)
    assert printed[-1] == f"waiting for the package volume: {tmp_path} has not answered for 0.05 s\n"
    assert (settings.run_directory / notice.FILE).read_text() == "The package volume does not answer\n"


def test_the_initial_password_is_made_once_and_gives_way_to_the_secret(bare: Server) -> None:
    bare.environment["INITIAL_PASSWORD"] = "yes"
    path = bare.packages / ".pypiserver/initial-password"

    def ask(user: str, password: str) -> int:
        url = f"http://127.0.0.1:{bare.verdicts_port}/-/auth/publisher"
        return requests.get(url, auth=(user, password), timeout=PATIENCE).status_code

    with bare:
        password = path.read_text().strip()
        assert path.stat().st_mode & 0o777 == 0o600
        assert len(password) >= 24
        assert password not in bare.log
        assert str(path) in bare.log
        assert ask("publisher", password) == 204
        assert requests.get(f"{bare.url}/simple/", timeout=PATIENCE).text.count("<a ") == 0
        bare.stop()
        bare.start()
        assert path.read_text().strip() == password
        assert ask("publisher", password) == 204
        (bare.credentials / "publishers").write_text(htpasswd_line("paul", "secret"))
        assert ask("publisher", password) == 401
        assert ask("paul", "secret") == 204
        # It is gone for good: a Secret that goes away again brings another one, at the next start.
        (bare.credentials / "publishers").unlink()
        assert ask("publisher", password) == 401
        bare.stop()
        bare.start()
        assert ask("publisher", password) == 401
        assert ask("publisher", path.read_text().strip()) == 204
        (bare.credentials / "publishers").write_text(htpasswd_line("paul", "secret"))
        bare.stop()
        bare.start()
        assert not path.exists()


def test_an_initial_password_cut_short_by_a_crash_is_made_anew(settings: Settings) -> None:
    path = settings.packages_directory / PLACE
    path.parent.mkdir()
    path.touch()
    wanted = settings.__class__(**{**vars(settings), "initial_password": True})
    start.check(wanted)
    assert len(path.read_text().strip()) >= 24
    assert start.initial_password(settings) is None


def test_a_volume_without_links_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(start.StartError, match="PUBLISH_METHOD=direct"):
        start.check(settings)


def test_an_unknown_pypiserver_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypiserver, "__version__", "3.0.0")
    with pytest.raises(start.StartError, match=r"pypiserver 3\.0\.0 is installed; this server works with 2\.4\.x"):
        start.check(settings)


def test_the_reason_reaches_the_kubelet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "termination-log"
    monkeypatch.setattr(start, "TERMINATION_LOG", log)
    with pytest.raises(SystemExit) as ended:
        start.end(start.StartError("the reason"))
    assert ended.value.code == 1
    assert not log.exists()
    log.touch()
    with pytest.raises(SystemExit):
        start.end(start.StartError("the reason"))
    assert log.read_text() == "the reason\n"


def test_the_index_is_left_out_of_collections_of_garbage(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    names = [f"project_{number}-1.0-py3-none-any.whl" for number in range(2000)]
    for name in names:
        (server.packages / name).touch()
    program = f"""
import gc, runpy
settings = runpy.run_path({str(server.program / "server/pod/gunicorn.conf.py")!r})
from server.pod.application import create
app = create()
settings["post_worker_init"](None)
print(gc.get_freeze_count())
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], env=server.environment, check=True, capture_output=True, text=True
    )
    assert int(ran.stdout) > len(names)
