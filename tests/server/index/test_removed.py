from __future__ import annotations

import dataclasses
import errno
import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import webtest

from server.index.digests import Digests
from server.index.removed import Removed
from server.pod import application
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    from pathlib import Path

    from server.pod.settings import Settings

NAME = "my_pkg-1.0.tar.gz"
SAME = ["my_pkg-1.0.0.tar.gz", "My.Pkg-1.0.tar.gz", "my_pkg-1.0.zip"]
"""Names that mean the same file as NAME."""

pytestmark = pytest.mark.usefixtures("quiet")


def application_of(settings: Settings, **others: object) -> webtest.TestApp:
    """The server with removal, started anew."""
    return webtest.TestApp(application.create(dataclasses.replace(settings, **{"allow_removal": True, **others})))  # type: ignore[arg-type]


def publish(app: webtest.TestApp, name: str, content: bytes = b"content", **files: bytes) -> webtest.TestResponse:
    sent = [("content", name, content), *((field, f"{name}.asc", signature) for field, signature in files.items())]
    return app.post("/", {":action": "file_upload"}, upload_files=sent, expect_errors=True)


def remove(app: webtest.TestApp, version: str = "1.0", status: int = 200) -> webtest.TestResponse:
    return app.post("/", {":action": "remove_pkg", "name": "my-pkg", "version": version}, status=status)


@pytest.mark.parametrize("name", [NAME, *SAME])
def test_what_was_removed_comes_back_as_it_was_or_not_at_all(settings: Settings, name: str) -> None:
    app = application_of(settings)
    publish(app, NAME)
    remove(app)
    # Nor after a restart, nor where removal is off by now.
    for again in (app, application_of(settings), application_of(settings, allow_removal=False)):
        refused = publish(again, name, b"another")
        assert refused.status == (
            f"409 '{NAME}' was removed, and its name stays taken: only the content that it had can come back."
        )
        again.get("/simple/my-pkg/", status=404)
        again.get(f"/packages/{name}", status=404)
    assert publish(app, "my_pkg-2.0.tar.gz", b"another").status_int == 200
    assert publish(app, name).status_int == 200
    assert app.get(f"/packages/{name}").body == b"content"


def test_a_pod_that_has_never_listed_it_knows_at_once(settings: Settings) -> None:
    one, other = (application_of(settings, writers="many") for _ in range(2))
    publish(one, NAME)
    remove(one)
    assert publish(other, NAME, b"another").status_int == 409
    assert publish(other, NAME).status_int == 200
    assert publish(one, NAME, b"another").status_int == 409


def test_another_build_of_a_removed_wheel_would_replace_it(tmp_path: Path) -> None:
    removed = Removed(OwnFiles(tmp_path, "removed", in_place=False))
    removed.keep("my_pkg-1.0-1-py2.py3-none-any.whl", "0")
    assert removed.other_than("my_pkg-1.0-2-py3.py2-none-any.whl", "1") == "my_pkg-1.0-1-py2.py3-none-any.whl"
    assert removed.other_than("my_pkg-1.0-2-py3-none-any.whl", "1") is None


def test_names_can_be_free_again(settings: Settings) -> None:
    taken, free = application_of(settings), application_of(settings, removed_names="free")
    publish(taken, NAME)
    remove(taken)
    assert publish(free, NAME, b"another").status_int == 200
    free = application_of(settings, removed_names="free")
    remove(free)
    # What was removed meanwhile is not remembered; what was before is.
    assert publish(application_of(settings), NAME, b"another").status_int == 409


def test_where_names_are_free_nothing_is_read_to_be_removed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.packages_directory / NAME).write_bytes(b"content")
    monkeypatch.setattr(Digests, "_read", lambda *_: pytest.fail("the file is read"))
    app = application_of(settings, removed_names="free")
    remove(app)
    assert not (settings.packages_directory / NAME).exists()


def test_a_signature_is_another_one_each_time(settings: Settings) -> None:
    app = application_of(settings)
    publish(app, NAME, gpg_signature=b"-----BEGIN PGP SIGNATURE-----\n1")
    remove(app)
    assert publish(app, NAME, gpg_signature=b"-----BEGIN PGP SIGNATURE-----\n2").status_int == 200
    assert app.get(f"/packages/{NAME}.asc").body.endswith(b"2")


def test_what_was_put_there_by_hand_is_known_too(settings: Settings) -> None:
    (settings.packages_directory / NAME).write_bytes(b"content")
    app = application_of(settings)
    remove(app)
    assert publish(app, NAME, b"another").status_int == 409
    assert publish(app, NAME, b"content").status_int == 200


def test_what_nobody_could_read_cannot_come_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app = application_of(settings)
    publish(app, NAME)
    monkeypatch.setattr(Digests, "of", lambda *_: None)
    remove(application_of(settings))
    assert publish(app, NAME).status_int == 409


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"file": 1, "sha256": ""}', b"[" * 60_000, b"\xff"])
def test_a_record_that_says_nothing_keeps_the_name_taken(settings: Settings, content: bytes) -> None:
    app = application_of(settings)
    publish(app, NAME)
    remove(app)
    record(settings).write_bytes(content)
    assert publish(app, NAME).status.startswith(f"409 '{NAME}' was removed")
    # To be free again a name needs no more than that.
    record(settings).unlink()
    assert publish(app, NAME, b"another").status_int == 200


def test_a_record_says_of_what_it_is(settings: Settings) -> None:
    app = application_of(settings)
    publish(app, NAME)
    remove(app)
    assert json.loads(record(settings).read_text()) == {"file": NAME, "sha256": sha256(b"content").hexdigest()}


def test_without_a_record_nothing_is_removed(settings: Settings) -> None:
    app = application_of(settings)
    publish(app, NAME)
    (settings.packages_directory / ".pypiserver/removed").write_bytes(b"in the way")
    assert remove(app, status=503).status == "503 The package volume failed: Not a directory"
    assert app.get(f"/packages/{NAME}").body == b"content"
    assert NAME in app.get("/simple/my-pkg/").text


def test_a_volume_that_cannot_tell_takes_no_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app = application_of(settings)

    def content(*_: object) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(OwnFiles, "content", content)
    assert publish(app, NAME).status == "503 The package volume failed: Stale file handle"
    app.get("/simple/my-pkg/", status=404)


def test_the_longest_name_has_a_record(settings: Settings) -> None:
    app = application_of(settings)
    name = f"{'a' * 235}-1.tar.gz"
    assert len(name) == 244
    assert publish(app, name).status_int == 200
    app.post("/", {":action": "remove_pkg", "name": "a" * 235, "version": "1"})
    assert publish(app, name, b"another").status_int == 409


def record(settings: Settings) -> Path:
    [path] = (settings.packages_directory / ".pypiserver/removed").iterdir()
    return path
