from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from typing import TYPE_CHECKING

import pytest
import webtest

from gateway_programs import make_wheel
from server.pod import application
from server.publish.link import Link
from vitals import stored

if TYPE_CHECKING:
    from pathlib import Path

    from server.pod.settings import Settings

BODY = b"content"
WHEEL = "my_pkg-1.0-py3-none-any.whl"


def post(app: webtest.TestApp, filename: str = WHEEL, body: bytes = BODY, /, **form: str) -> webtest.TestResponse:
    fields = {":action": "file_upload", **form}
    return app.post("/", fields, upload_files=[("content", filename, body)], expect_errors=True)


def post_form(app: webtest.TestApp, body: bytes) -> webtest.TestResponse:
    """Send these bytes; `webtest.TestApp.post` would make a form of them."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return app.request("/", method="POST", body=body, headers=headers, expect_errors=True)


def removal(app: webtest.TestApp, **form: str) -> webtest.TestResponse:
    return app.post("/", {":action": "remove_pkg", **form}, expect_errors=True)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        (WHEEL, {}),
        (WHEEL, {"name": "My.Pkg", "version": "1.0.0"}),
        ("my_pkg-1.0-1build-py3-none-any.whl", {"name": "my-pkg", "version": "1.0"}),
        ("my_pkg-1.0rc1.tar.gz", {"name": "my-pkg", "version": "1.0-rc1"}),
        ("my_pkg-1.0+local.1-py3-none-any.whl", {"name": "my-pkg", "version": "1.0+local.1"}),
        (f"my_pkg-1.{'9' * 19}.tar.gz", {"name": "my-pkg"}),
        (f"my_pkg-1.0+{'9' * 40}-py3-none-any.whl", {"name": "my-pkg"}),
        (WHEEL, {"sha256_digest": hashlib.sha256(BODY).hexdigest()}),
    ],
)
def test_what_fits_is_published(app: webtest.TestApp, name: str, form: dict[str, str]) -> None:
    assert post(app, name, BODY, **form).status_int == 200
    assert name in app.get("/simple/my-pkg/").text
    assert app.get(f"/packages/{name}").body == BODY


@pytest.mark.parametrize(
    ("name", "form", "reason"),
    [
        (WHEEL, {"name": "other"}, f"The name of {WHEEL} is not that of the project other"),
        (WHEEL, {"version": "1.1"}, f"The name of {WHEEL} is not that of the version 1.1"),
        (WHEEL, {"md5_digest": "0" * 32}, "The file does not have the md5_digest of the form; was it cut short?"),
        (WHEEL, {"sha256_digest": "0"}, "The file does not have the sha256_digest of the form; was it cut short?"),
        (
            WHEEL,
            {"blake2_256_digest": "0"},
            "The file does not have the blake2_256_digest of the form; was it cut short?",
        ),
        ("README", {}, "Bad filename: README"),
        (".my_pkg-1.0.tar.gz", {}, "Bad filename: .my_pkg-1.0.tar.gz"),
        ("my pkg-1.0.tar.gz", {}, "Bad filename: my pkg-1.0.tar.gz"),
        # The gateway has no address for these, or none for their project's page.
        ("-1.0.zip", {}, "Bad filename: -1.0.zip"),
        ("my+pkg-1.0.zip", {}, "Bad filename: my+pkg-1.0.zip"),
        ("_my_pkg-1.0.zip", {}, "Bad filename: _my_pkg-1.0.zip"),
        ("my_pkg-1.0-py3.8-linux.rpm", {}, "Bad filename: my_pkg-1.0-py3.8-linux.rpm"),
        (f"{'a' * 239}-1.0.zip", {}, "Bad filename: more than 246 characters"),
        *(
            (f"my_pkg-{version}.tar.gz", {}, "Bad filename: a number of its version has more than 19 digits")
            for version in ("9" * 200, f"1.{'1' * 20}", f"{'1' * 30}!1", f"1.0rc{'1' * 20}", f"1.0.dev{'1' * 20}")
        ),
        (
            f"my_pkg-{'9' * 20}-py3-none-any.whl",
            {},
            "Bad filename: a number of its version has more than 19 digits",
        ),
        ("my_pkg-1.0.zip", {"version": f"1.{'9' * 10**6}"}, "The field version has more than 1000 bytes"),
        (WHEEL, {":action": "nonsense"}, "Unsupported ':action' field: nonsense"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    app: webtest.TestApp, settings: Settings, name: str, form: dict[str, str], reason: str
) -> None:
    refused = post(app, name, BODY, **form)
    assert refused.status == f"400 {reason}"
    assert refused.text == f"{reason}\n"
    assert refused.content_type == "text/plain"
    assert stored(settings.packages_directory) == []
    assert post(app).status_int == 200


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(":action", "x"), "content", (":action", "file_upload")], "The form has another :action before its file"),
        ([":action", "content", (":action", "file_upload")], ":action is a field, and no file"),
        ([(":action", "file_upload"), "content", "attestations"], "attestations is a field, and no file"),
        ([(":action", "file_upload"), "content", ("gpg_signature", "x")], "gpg_signature is no file"),
        (
            [(":action", "x"), "gpg_signature", (":action", "file_upload")],
            "The form has another :action before its file",
        ),
        ([(":action", "file_upload"), "content", (":action", "x")], "Unsupported ':action' field: x"),
        ([(":action", "file_upload"), "content", "content"], "The form has more than one file content"),
    ],
)
def test_what_contradicts_itself_is_refused(
    app: webtest.TestApp, settings: Settings, parts: list[str | tuple[str, str]], reason: str
) -> None:
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{part}"; filename="{WHEEL}"\r\n\r\n{BODY.decode()}\r\n'
        if isinstance(part, str)
        else f'--x\r\nContent-Disposition: form-data; name="{part[0]}"\r\n\r\n{part[1]}\r\n'
        for part in parts
    )
    refused = post_form(app, f"{fields}--x--".encode())
    assert refused.status == f"400 {reason}"
    assert stored(settings.packages_directory) == []


@pytest.mark.parametrize(("length", "status"), [(1000, 200), (1001, 400)])
def test_a_requirement_that_nobody_can_mean_is_refused(
    app: webtest.TestApp, tmp_path: Path, length: int, status: int
) -> None:
    requirement = (">=3," * 300)[: length - 3] + ">=3"
    wheel = make_wheel(tmp_path, "my_pkg", "1.0", headers=f"Requires-Python: {requirement}\n")
    assert post(app, wheel.name, wheel.read_bytes()).status_int == status


@pytest.mark.usefixtures("quiet")
def test_a_version_that_was_put_there_by_hand_harms_no_other(settings: Settings) -> None:
    for version in ("2.0", "9" * 200, f"{'1' * 30}!1", "1.0"):
        (settings.packages_directory / f"my_pkg-{version}.tar.gz").write_bytes(BODY)
    app = webtest.TestApp(application.create(settings))
    page = app.get("/simple/my-pkg/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json
    assert page["versions"] == ["1.0", "2.0", "9" * 200, f"{'1' * 30}!1"]


def test_a_name_that_would_take_minutes_to_read_is_refused_at_once(app: webtest.TestApp) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="content"; filename="a{"-1" * 100}\n.whl"\r\n\r\n'
    assert post_form(app, f"{head}\r\n--x--".encode()).status.startswith("400 Bad filename")


def test_other_files_of_a_form_are_passed_over(app: webtest.TestApp) -> None:
    files = [("other", "notes.txt", b"notes"), ("content", WHEEL, BODY)]
    assert app.post("/", {":action": "file_upload"}, upload_files=files).status_int == 200
    assert app.get(f"/packages/{WHEEL}").body == BODY


def test_the_action_may_come_after_the_file(app: webtest.TestApp) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="content"; filename="{WHEEL}"\r\n\r\n'
    tail = '\r\n--x\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--x--'
    body = head.encode() + BODY + tail.encode()
    assert post_form(app, body).status_int == 200
    assert app.get(f"/packages/{WHEEL}").body == BODY


@pytest.mark.parametrize("agent", ["twine/7.0.0", "uv/0.9", ""])
def test_an_existing_name_is_a_conflict_for_everybody(app: webtest.TestApp, agent: str) -> None:
    app.extra_environ["HTTP_USER_AGENT"] = agent
    assert post(app).status_int == 200
    for body in (BODY, b"other"):
        refused = post(app, WHEEL, body)
        assert refused.status_int == 409
        assert refused.status == f"409 Package {WHEEL!r} already exists! What is published cannot be replaced."
    assert app.get(f"/packages/{WHEEL}").body == BODY


def test_a_name_that_exists_only_on_the_volume_is_a_conflict(app: webtest.TestApp, settings: Settings) -> None:
    """Another pod has published it a moment ago."""
    (settings.packages_directory / WHEEL).write_bytes(b"theirs")
    refused = post(app)
    assert refused.status == f"409 Package {WHEEL!r} already exists! What is published cannot be replaced."
    assert (settings.packages_directory / WHEEL).read_bytes() == b"theirs"


def test_a_signature_whose_name_exists_keeps_its_file_from_being_published(
    app: webtest.TestApp, settings: Settings
) -> None:
    both = [("content", WHEEL, BODY), ("gpg_signature", f"{WHEEL}.asc", b"signature")]
    assert post(app, f"{WHEEL}.asc").status_int == 200
    refused = app.post("/", {":action": "file_upload"}, upload_files=both, expect_errors=True)
    assert refused.status_int == 409
    assert not (settings.packages_directory / WHEEL).exists()


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (errno.ENOSPC, 507, "No room for the upload: No space left on device"),
        (errno.EDQUOT, 507, "No room for the upload: Disk quota exceeded"),
        (errno.EROFS, 503, "The package volume failed: Read-only file system"),
        (errno.EIO, 503, "The package volume failed: Input/output error"),
    ],
)
def test_a_volume_that_does_not_take_it_is_named(
    app: webtest.TestApp, monkeypatch: pytest.MonkeyPatch, number: int, status: int, reason: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    refused = post(app)
    assert refused.status == f"{status} {reason}"
    assert app.get("/simple/my-pkg/", status=404)
    monkeypatch.undo()
    assert post(app).status_int == 200


def test_removal_is_off(app: webtest.TestApp) -> None:
    post(app)
    refused = removal(app, name="my-pkg", version="1.0")
    assert refused.status_int == 403
    assert refused.text.startswith("Removal is off")
    assert WHEEL in app.get("/simple/my-pkg/").text


@pytest.mark.usefixtures("quiet")
def test_removal_can_be_allowed(settings: Settings) -> None:
    app = webtest.TestApp(application.create(dataclasses.replace(settings, allow_removal=True)))
    for name in (WHEEL, "my_pkg-1.0.tar.gz", "my_pkg-2.0.tar.gz"):
        assert post(app, name).status_int == 200
    app.get("/simple/my-pkg/")
    assert removal(app, name="my-pkg", version="3.0").status == "404 my-pkg (3.0) not found"
    assert removal(app, name="My.Pkg", version="1.0").status_int == 200
    page = app.get("/simple/my-pkg/").text
    assert "2.0" in page
    assert "1.0" not in page
    assert removal(app, name="my-pkg", version="2.0").status_int == 200
    assert app.get("/simple/my-pkg/", status=404)
    assert "my-pkg" not in app.get("/simple/").text


def test_a_reason_of_several_lines_or_letters_keeps_the_status_line_whole(app: webtest.TestApp) -> None:
    refused = post(app, "a\u00e4", BODY, **{":action": "evil\r\nSet-Cookie: x=1; \u2603"})
    assert refused.status_int == 400
    assert "Set-Cookie" not in refused.headers
    assert refused.status.isascii()
    assert len(refused.status) < 250


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("as_form_data", [False, True])
def test_a_removal_that_names_the_files_spares_what_came_since(settings: Settings, *, as_form_data: bool) -> None:
    app = webtest.TestApp(application.create(dataclasses.replace(settings, allow_removal=True)))
    for name in ("my_pkg-1.0.tar.gz", WHEEL):
        post(app, name)

    def ask(*names: str) -> webtest.TestResponse:
        form = {":action": "remove_pkg", "name": "my-pkg", "version": "1.0", "files": " ".join(names)}
        content_type = "multipart/form-data" if as_form_data else None
        return app.post("/", form, content_type=content_type, expect_errors=True)

    for names in ([WHEEL], [], ["my_pkg-1.0.tar.gz", "other"]):
        refused = ask(*names)
        assert refused.status_int == 409
        assert "is not among the files that were named: nothing is removed" in refused.text
        assert stored(settings.packages_directory) == [WHEEL, "my_pkg-1.0.tar.gz"]
    # One that is gone does no harm.
    assert ask(WHEEL, "my_pkg-1.0.tar.gz", "my_pkg-1.0.zip").status_int == 200
    assert not [path for path in settings.packages_directory.iterdir() if path.is_file()]


def test_what_may_not_be_published_gets_no_draft(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    permissions = settings.packages_directory.parent / "permissions.json"
    permissions.write_text('{"groups": {}, "rules": []}')
    app = webtest.TestApp(application.create(dataclasses.replace(settings, permissions=permissions)))
    monkeypatch.setattr(Link, "draft", lambda _: pytest.fail("a draft"))
    answer = post(app)
    assert answer.status == "403 nobody has no right to publish my-pkg"
