"""The whole way: pip, uv and twine through the gateway to the server and back."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from typing import TYPE_CHECKING

import pytest
from twine.commands.upload import skip_upload
from twine.package import PackageFile

from gateway_programs import Registry, Setup, make_sdist, make_wheel, registry, run, twine_upload
from programs import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


def index(started: Registry, user: str = "", password: str = "") -> str:
    access = f"{user}:{password}@" if user else ""
    return started.gateway.url.replace("://", f"://{access}") + "/simple/"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_twine_publishes_and_pip_and_uv_install(shared: Registry, tmp_path: Path) -> None:
    wheel, sdist = make_wheel(tmp_path, "round_trip", "1.0"), make_sdist(tmp_path, "round_trip", "1.0")
    upload = twine_upload(tmp_path, shared.gateway.url, wheel, sdist, credentials=PUBLISHER)
    assert upload.returncode == 0, upload.stdout
    page = shared.gateway.get("/simple/round-trip/", *READER).text
    for file in (wheel, sdist):
        assert f"/packages/{file.name}#sha256={sha256(file)}" in page
        assert shared.gateway.get(f"/packages/{file.name}", *READER).content == file.read_bytes()

    requirement = tmp_path / "requirements.txt"
    requirement.write_text(f"round-trip==1.0 --hash=sha256:{sha256(wheel)}\n")
    address = index(shared, *READER)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir"]
    for name, command in {
        "pip": [*pip, "--index-url", address],
        "uv": ["uv", "pip", "install", "--no-cache", "--python", sys.executable, "--default-index", address],
    }.items():
        target = tmp_path / f"by-{name}"
        done = run(tmp_path, *command, "--target", str(target), "--require-hashes", "-r", str(requirement))
        assert done.returncode == 0, done.stdout
        assert (target / "round_trip.py").read_text() == "VERSION = '1.0'\n"


def test_pip_and_uv_without_a_right_password(shared: Registry, tmp_path: Path) -> None:
    for address in (index(shared), index(shared, "reader", "guess")):
        pip = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--no-input", "--no-deps"]
        # Twice verbose, or of an index without a password it says no more than that nothing was found.
        done = run(tmp_path, *pip, "-vv", "--index-url", address, "demo")
        assert done.returncode != 0
        assert "/simple/demo/: 401 Client Error" in done.stdout
        done = run(tmp_path, "uv", "pip", "install", "--no-cache", "--target", "x", "--default-index", address, "demo")
        assert done.returncode != 0
        assert "401 Unauthorized" in done.stdout


def test_netrc_answers_the_challenge(shared: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "challenged", "1.0")
    assert twine_upload(tmp_path, shared.gateway.url, wheel, credentials=PUBLISHER).returncode == 0
    (tmp_path / "home").mkdir(exist_ok=True)
    netrc = tmp_path / "home/.netrc"
    netrc.write_text(f"machine 127.0.0.1 login {READER[0]} password {READER[1]}\n")
    netrc.chmod(0o600)
    pip = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--no-input", "--no-deps"]
    done = run(tmp_path, *pip, "--index-url", index(shared), "--dest", "got", "challenged")
    assert done.returncode == 0, done.stdout
    assert sha256(tmp_path / "got" / wheel.name) == sha256(wheel)


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [(READER, "may not publish"), (("publisher", "guess"), "password is missing or wrong")],
)
def test_who_may_not_publish(shared: Registry, tmp_path: Path, credentials: tuple[str, str], reason: str) -> None:
    wheel = make_wheel(tmp_path, "refused", "1.0")
    upload = twine_upload(tmp_path, shared.gateway.url, wheel, credentials=credentials)
    assert upload.returncode != 0
    assert reason in upload.stdout
    assert shared.gateway.get("/simple/refused/", *READER).status_code == 404


def test_a_version_is_published_once(shared: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "once", "1.0")
    url = shared.gateway.url
    first = twine_upload(tmp_path, url, wheel, credentials=PUBLISHER)
    assert first.returncode == 0, first.stdout
    published = wheel.read_bytes()
    user, password = PUBLISHER
    check = ["--check-url", index(shared, *READER), "--username", user, "--password", password]
    again = run(tmp_path, "uv", "publish", "--no-cache", "--publish-url", f"{url}/", *check, str(wheel))
    assert again.returncode == 0, again.stdout
    assert "already exists" in again.stdout
    make_wheel(tmp_path, "once", "1.0", padding=b"other content")
    plain = twine_upload(tmp_path, url, wheel, credentials=PUBLISHER)
    assert plain.returncode != 0
    assert "409" in plain.stdout
    # The command line of twine 7 has --skip-existing for PyPI only; earlier ones decide with this function.
    answer = shared.upload(wheel)
    assert skip_upload(answer, skip_existing=True, package=PackageFile.from_filename(str(wheel), None))
    assert "exists" in answer.reason
    assert shared.gateway.get(f"/packages/{wheel.name}", *READER).content == published


def test_uv_publishes(shared: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "by_uv", "1.0")
    user, password = PUBLISHER
    access = ["--username", user, "--password", password]
    done = run(tmp_path, "uv", "publish", "--no-cache", "--publish-url", f"{shared.gateway.url}/", *access, str(wheel))
    assert done.returncode == 0, done.stdout
    assert shared.gateway.get(f"/packages/{wheel.name}", *READER).content == wheel.read_bytes()


def test_what_is_published_is_listed_at_once(shared: Registry, tmp_path: Path) -> None:
    tag = ""
    for number in range(30):
        wheel = make_wheel(tmp_path, "fresh" if number % 2 else f"fresh{number}", f"1.{number}")
        assert shared.upload(wheel).status_code == 200
        project = "fresh" if number % 2 else f"fresh{number}"
        listing = shared.gateway.get("/simple/", *READER, If_None_Match=tag)
        page = shared.gateway.get(f"/simple/{project}/", *READER)
        assert f"#sha256={sha256(wheel)}" in page.text
        if number % 2 == 0:
            # A new project: the index must not be "not modified".
            assert listing.status_code == 200
            assert f'href="{project}/"' in listing.text
        tag = shared.gateway.get("/simple/", *READER).headers.get("ETag", "")


def test_a_page_becomes_a_file_that_is_revalidated(shared: Registry, tmp_path: Path) -> None:
    assert shared.upload(make_wheel(tmp_path, "again", "1.0")).status_code == 200
    shared.gateway.get("/simple/again/", *READER)
    tag = shared.gateway.get("/simple/again/", *READER).headers["ETag"]
    assert shared.gateway.get("/simple/again/", *READER, If_None_Match=tag).status_code == 304
    assert shared.upload(make_wheel(tmp_path, "again", "1.1")).status_code == 200
    for _ in range(2):
        changed = shared.gateway.get("/simple/again/", *READER, If_None_Match=tag)
        assert changed.status_code == 200
        assert "again-1.1" in changed.text


@pytest.mark.parametrize("accept", ["identity", "gzip"])
def test_a_page_made_by_the_server_and_its_file_are_the_same(shared: Registry, tmp_path: Path, accept: str) -> None:
    name = f"same_{accept}"
    assert shared.upload(make_wheel(tmp_path, name, "1.0")).status_code == 200
    project = name.replace("_", "-")
    headers = {"Host": "evil.example", "X_Forwarded_Host": "evil.example//evil.example", "Accept_Encoding": accept}
    made = shared.gateway.get(f"/simple/{project}/", *READER, **headers)
    kept = shared.gateway.get(f"/simple/{project}/", *READER)
    assert made.text == kept.text
    assert "ETag" in kept.headers
    assert "evil" not in kept.text


def test_other_addresses(shared: Registry, tmp_path: Path) -> None:
    assert shared.upload(make_wheel(tmp_path, "other_addresses", "1.0")).status_code == 200
    get = shared.gateway.get
    redirect = get("/simple/Other_Addresses/", *READER)
    assert (redirect.status_code, redirect.headers["Location"]) == (301, "/simple/other-addresses/")
    redirect = get("/Other.Addresses/json", *READER)
    assert (redirect.status_code, redirect.headers["Location"]) == (301, "/other-addresses/json")
    described = json.loads(
        get("/other-addresses/json", *READER, X_Forwarded_Host="pypi.example.org", X_Forwarded_Proto="https").text
    )
    (release,) = described["releases"]["1.0"]
    assert release["url"] == "https://pypi.example.org/packages/other_addresses-1.0-py3-none-any.whl"
    assert "other_addresses-1.0-py3-none-any.whl" in get("/packages/", *READER).text
    assert get("/", *READER).status_code == 200
    assert get("/simple/absent/", *READER).status_code == 404
    assert get("/health").text
    assert get("/ready").status_code == 200


def test_anonymous_reads(tmp_path: Path) -> None:
    with registry(tmp_path, Setup(anonymous=True)) as started:
        wheel = make_wheel(tmp_path, "open_to_all", "1.0")
        assert twine_upload(tmp_path, started.gateway.url, wheel, credentials=READER).returncode != 0
        assert twine_upload(tmp_path, started.gateway.url, wheel, credentials=PUBLISHER).returncode == 0
        pip = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--no-deps", "--dest", str(tmp_path / "got")]
        done = run(tmp_path, *pip, "--index-url", index(started), "open-to-all")
        assert done.returncode == 0, done.stdout
        assert sha256(tmp_path / "got" / wheel.name) == sha256(wheel)


def test_users_are_told_apart_by_the_server(shared: Registry) -> None:
    for number in range(3):
        shared.server.add_user("readers", f"extra-{number}", f"password-{number}")
    get = shared.gateway.get
    # A changed file is noticed within a moment, and a refusal is kept for 5 s.
    wait_for(lambda: get("/simple/", "extra-2", "password-2").ok, "the new users")
    for number in range(3):
        user, password = f"extra-{number}", f"password-{number}"
        assert get("/simple/", user, password).status_code == 200
        assert get("/simple/", user, f"password-{(number + 1) % 3}").status_code == 401
        assert shared.gateway.request("POST", "/", user, password, data=b"x").status_code == 403


def test_no_log_of_either_program_has_a_password(shared: Registry, tmp_path: Path) -> None:
    assert shared.upload(make_wheel(tmp_path, "quiet", "1.0")).status_code == 200
    assert shared.gateway.get("/simple/quiet/", *READER).status_code == 200
    assert shared.gateway.get("/simple/quiet/", "reader", "mistyped-password").status_code == 401
    line = shared.gateway.logged(method="POST", status=200, user="publisher")
    assert line["upstream_duration"] is not None
    logs = json.dumps(shared.gateway.access_log) + shared.gateway.error_log + shared.server.log
    assert not re.search(r"-password|Basic [A-Za-z0-9+/=]{8}", logs)
