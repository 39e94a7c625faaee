"""What was read once is not read again by a later process: the files below change without showing it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import requests
import webtest

from gateway_programs import make_wheel
from programs import upload, wait_for
from server.http.negotiation import JSON
from server.index import findings
from server.index.findings import Findings
from server.index.listing import Listing
from server.index.packed import Core
from server.pod import application
from server.volume.content import Stamp
from server.volume.marker import WrongVolumeError
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from programs import Server
    from server.pod.settings import Settings

    Serve = Callable[..., Server]


STAMP = Stamp(7, 10**18)
NO_DIGESTS: tuple[object, ...] = (1, "1", None, {}, [], 'sha256="<script>', "sha256")
CORE = Core("metadata's digest", ">=3")


class Known:
    def __init__(self, root: Path, *stamps: tuple[str, Stamp]) -> None:
        self.listing = Listing()
        for path, stamp in stamps:
            self.listing.add("", path, stamp)
        self.files = OwnFiles(root, findings.DIRECTORY, in_place=False)
        self.findings = Findings(self.files, self.listing)

    def entry(self, path: str) -> Any:  # noqa: ANN401 - the tests write to it
        return self.listing.at(path)

    def keep(self) -> None:
        self.findings.keep("a")
        self.findings.write()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A volume on which one process kept what it knew of a file."""
    known = Known(tmp_path, ("a-1.0.tar.gz", STAMP), ("a-2.0.tar.gz", STAMP))
    known.entry("a-1.0.tar.gz").digest = "sha256=1"
    known.entry("a-1.0.tar.gz").core = CORE
    known.keep()
    assert [path.name for path in known.files.path.iterdir()] == ["a.json"]
    return tmp_path


def recalled(root: Path, stamp: Stamp = STAMP, name: str = "a-1.0.tar.gz") -> tuple[str | None, Core | None]:
    known = Known(root, (name, stamp))
    known.findings.recall(known.entry(name))
    return known.entry(name).digest, known.entry(name).core


def test_it_counts_for_the_same_path_size_and_time_only(kept: Path) -> None:
    assert recalled(kept) == ("sha256=1", CORE)
    assert recalled(kept, Stamp(8, STAMP.mtime_ns)) == (None, None)
    assert recalled(kept, Stamp(7, STAMP.mtime_ns + 1)) == (None, None)
    assert recalled(kept, name="a-2.0.tar.gz") == (None, None)
    assert recalled(kept, name="b-1.0.tar.gz") == (None, None)


def row(digest: object, core: object) -> str:
    return json.dumps({"a-1.0.tar.gz": [*STAMP, digest, core]})


@pytest.mark.parametrize("core", [1, "ab", [1, 2], ["digest"], [None, None, None], {"metadata": None}, [[], {}]])
def test_what_is_wrong_about_the_inside_is_ignored(kept: Path, core: object) -> None:
    (kept / ".pypiserver" / findings.DIRECTORY / "a.json").write_text(row("sha256=1", core))
    assert recalled(kept) == ("sha256=1", None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"a-1.0.tar.gz": 1}', '{"a-1.0.tar.gz": [7]}', "\0", '"text"'),
        pytest.param("[" * 100_000, id="deep"),
        *(row(digest, None) for digest in NO_DIGESTS),
    ],
)
def test_what_is_no_such_file_is_ignored(kept: Path, text: str) -> None:
    (kept / ".pypiserver" / findings.DIRECTORY / "a.json").write_text(text)
    assert recalled(kept) == (None, None)


def test_it_is_written_when_there_is_something_new(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known(kept, ("a-1.0.tar.gz", STAMP))
    known.findings.recall(known.entry("a-1.0.tar.gz"))
    with monkeypatch.context() as patched:
        patched.setattr(OwnFiles, "put", lambda *_, **__: pytest.fail("nothing is new"))
        known.keep()
    other = Known(kept, ("a-1.0.tar.gz", STAMP), ("a-3.0.tar.gz", STAMP))
    other.entry("a-3.0.tar.gz").digest = "sha256=3"
    other.keep()
    assert recalled(kept) == ("sha256=1", CORE), "what another process knew is lost"
    assert recalled(kept, name="a-3.0.tar.gz") == ("sha256=3", None)


def test_a_volume_that_takes_nothing_is_no_error(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known(kept, ("a-1.0.tar.gz", STAMP))
    known.entry("a-1.0.tar.gz").digest = "sha256=other"
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    known.keep()
    monkeypatch.undo()
    assert recalled(kept)[0] == "sha256=1"


def test_another_volume_in_the_place_of_ours_gets_nothing(tmp_path: Path) -> None:
    """A moment after a publish, before anybody has noticed that it was unmounted."""
    known = Known(tmp_path, ("a-1.0.tar.gz", STAMP))
    known.entry("a-1.0.tar.gz").digest = "sha256=1"

    def missed() -> None:
        raise WrongVolumeError("It is not there")

    known.findings = Findings(known.files, known.listing, verify=missed)
    known.keep()
    assert list(tmp_path.iterdir()) == []


def change_unseen(path: Path) -> None:
    """Other content of the same size and time: whoever reads the file again shows another digest."""
    status = path.stat()
    path.write_bytes(b"\xff" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("method", ["link", "direct"])
def test_a_restart_reads_no_package_again(serve: Serve, tmp_path: Path, method: str) -> None:
    server = serve(PUBLISH_METHOD=method)
    for version in ("1.0", "2.0"):
        wheel = make_wheel(tmp_path, "a", version, headers="Requires-Python: >=3\n")
        assert upload(server.url, wheel.name, wheel.read_bytes()).ok
    pages = [index(server.url, accept) for accept in (JSON, "text/html")]
    assert '"requires-python":">=3"' in pages[0]
    kept = server.packages / ".pypiserver" / findings.DIRECTORY / "a.json"
    wait_for(lambda: kept.exists() and kept.read_text().count(">=3") == 2, "what is known to be written down")
    server.kill()
    for path in server.packages.glob("*.whl"):
        change_unseen(path)
    server.start()
    assert [index(server.url, accept) for accept in (JSON, "text/html")] == pages
    server.kill()
    kept.unlink()
    server.start()
    assert index(server.url, JSON) != pages[0], "the test would not notice"


def index(url: str, accept: str) -> str:
    return requests.get(f"{url}/simple/a/", headers={"Accept": accept}, timeout=20).text


@pytest.mark.usefixtures("quiet")
def test_every_file_is_read_once(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in range(3):
        make_wheel(settings.packages_directory, "a", f"{version}.0")
    opened: list[str] = []
    real = type(tmp_path).open

    def counted(self: Path, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as Path.open
        opened.append(self.suffix)
        return real(self, *args, **named)

    monkeypatch.setattr(type(tmp_path), "open", counted)
    for reads in (6, 0):
        opened.clear()
        made: list[Findings] = []

        def start(self: Findings, made: list[Findings] = made) -> None:
            made.append(self)

        monkeypatch.setattr(Findings, "start", start)
        app = webtest.TestApp(application.create(settings))
        for accept in ("text/html", JSON, JSON):
            assert app.get("/simple/a/", headers={"Accept": accept}).status_int == 200
        assert opened.count(".whl") == reads
        made[0].write()


def test_asking_for_what_is_not_here_leaves_nothing_behind(serve: Serve) -> None:
    server = serve()
    for number in range(20):
        assert requests.get(f"{server.url}/simple/absent-{number}/", timeout=20).status_code == 404
    assert upload(server.url, "a-1.0.zip").ok
    index(server.url, JSON)
    directory = server.packages / ".pypiserver" / findings.DIRECTORY
    wait_for((directory / "a.json").exists, "what is known to be written down")
    assert [path.name for path in directory.iterdir()] == ["a.json"]
