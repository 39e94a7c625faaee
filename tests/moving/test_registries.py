"""From one registry to another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from copying import PUBLISHER, READER, File, Index, copy, counted, pypiserver, wheel
from gateway_programs import Registry, make_sdist, make_wheel, registry
from programs import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path


def listed(target: Registry, project: str) -> dict[str, dict[str, object]]:
    """What a registry tells of a project, by file name."""
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    page = target.gateway.get(f"/simple/{project}/", "reader", "reader-password", **accept)
    return {file["filename"]: file for file in page.json()["files"]} if page.ok else {}


def yank(target: Registry, name: str, version: str, reason: str) -> None:
    """Withdraw a version as its publisher does."""
    form = {":action": "yank", "name": name, "version": version, "reason": reason}
    login = ("publisher", "publisher-password")
    requests.post(target.gateway.url, data=form, auth=login, timeout=PATIENCE).raise_for_status()


def test_from_pypiserver(tmp_path: Path, target: Registry) -> None:
    with pypiserver(tmp_path / "source") as (url, packages):
        make_wheel(packages, "acme_one", "1.0", b"one" * 500_000, "Requires-Python: >=3.8\n")
        make_sdist(packages, "acme-two", "2.0")
        (packages / "acme-two-2.0.tar.gz.asc").write_text("a signature, which is no package")
        first = copy(tmp_path, f"{url}simple/", target.gateway.url, environment=PUBLISHER)
        again = copy(tmp_path, f"{url}simple/", target.gateway.url, environment=PUBLISHER)
    assert (first.status, first.table) == (0, counted(copied=2)), first.said
    assert (again.status, again.table) == (0, counted(there=2)), again.said
    assert (target.server.packages / "acme-two-2.0.tar.gz").read_bytes() == (
        packages / "acme-two-2.0.tar.gz"
    ).read_bytes()
    assert listed(target, "acme-one")["acme_one-1.0-py3-none-any.whl"]["requires-python"] == ">=3.8"
    assert not any(path.is_file() for path in (tmp_path / ".cache").rglob("*"))


def test_to_pypiserver(tmp_path: Path, target: Registry) -> None:
    target.upload(make_wheel(tmp_path, "acme", "1.0"))
    with pypiserver(tmp_path / "other") as (url, packages):
        source = f"{target.gateway.url}/simple/"
        first = copy(tmp_path, source, url, environment=READER)
        again = copy(tmp_path, source, url, environment=READER)
        yank(target, "acme", "1.0", "broken")
        yanked = copy(tmp_path, source, url, environment=READER)
    assert (first.status, first.table) == (0, counted(copied=1)), first.said
    assert (again.status, again.table) == (0, counted(there=1)), again.said
    # It has no yanks: to say nothing would be to say that all is as at the source.
    assert (yanked.status, yanked.table) == (1, counted(different=1)), yanked.said
    assert "it is there, but not yanked as at the source: 400" in yanked.said
    assert [path.name for path in packages.iterdir()] == ["acme-1.0-py3-none-any.whl"]


def test_a_fallback_to_another_index_is_no_answer(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    target.upload(make_wheel(tmp_path, "acme", "1.0", b"of our own"))
    with Index({name: File(content)}) as public:
        # A target that sends on to an index on which the file is: here it is not.
        elsewhere = public.url.replace("127.0.0.1", "localhost")
        with pypiserver(tmp_path / "other", "--fallback-url", f"{elsewhere}/simple/") as (url, packages):
            done = copy(tmp_path, f"{target.gateway.url}/simple/", url, environment=READER)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert b"of our own" in (packages / name).read_bytes()
    assert public.requests == []


def test_yanked_state_is_kept(tmp_path: Path, target: Registry) -> None:
    with registry(tmp_path / "source") as source:
        for version in ("1.0", "2.0", "3.0"):
            source.upload(make_wheel(tmp_path, "acme", version))
        yank(source, "acme", "1.0", "eats <data> & more")
        yank(source, "acme", "2.0", "")
        first = copy(tmp_path, f"{source.gateway.url}/simple/", target.gateway.url, environment={**PUBLISHER, **READER})
        yank(source, "acme", "3.0", "withdrawn after it was copied")
        again = copy(tmp_path, f"{source.gateway.url}/simple/", target.gateway.url, environment={**PUBLISHER, **READER})
    assert (first.status, first.table) == (0, counted(copied=3)), first.said
    assert (again.status, again.table) == (0, counted(there=3)), again.said
    yanked = {name: file["yanked"] for name, file in listed(target, "acme").items()}
    assert yanked == {
        "acme-1.0-py3-none-any.whl": "eats <data> & more",
        "acme-2.0-py3-none-any.whl": True,
        "acme-3.0-py3-none-any.whl": "withdrawn after it was copied",
    }


def test_a_version_of_which_a_file_is_yanked_is_not_withdrawn(tmp_path: Path, target: Registry) -> None:
    (one, first), (two, second) = wheel(tmp_path / "made", "acme", "1.0"), wheel(tmp_path / "made", "acme", "1.0")
    files = {one: File(first, attributes='data-yanked="broken"'), two.replace("py3", "py2"): File(second)}
    with Index(files) as source:
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
    assert (done.status, done.table) == (1, counted(copied=1, different=1)), done.said
    assert {file["yanked"] for file in listed(target, "acme").values()} == {False}


def test_what_differs_is_left_alone(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    target.upload(make_wheel(tmp_path, "acme", "1.0", b"what is there"))
    with Index({name: File(content)}) as source:
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
        assert source.ranges(name) == []
    assert (done.status, done.table) == (1, counted(different=1)), done.said
    assert f"different: {name}: the target has another content under this name" in done.said
    assert b"what is there" in (target.server.packages / name).read_bytes()


def test_what_means_the_same_file_is_not_there_twice(tmp_path: Path, target: Registry) -> None:
    target.upload(make_wheel(tmp_path, "acme", "1.0"))
    name, content = wheel(tmp_path / "made", "acme", "1.0.0")
    with Index({name: File(content)}) as source:
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
    assert (done.status, done.table) == (1, counted(failed=1)), done.said
    assert "409" in done.said


@pytest.mark.parametrize("fragment", ["", "#md5=5d41402abc4b2a76b9719d911017c592"])
def test_an_index_without_sha256(fragment: str, tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    file = File(content, fragment=fragment)
    with Index({name: file}) as source:
        address = f"{source.url}/simple/"
        first = copy(tmp_path, address, target.gateway.url, environment=PUBLISHER)
        if fragment:
            assert (first.status, first.table) == (1, counted(failed=1)), first.said
            assert list(target.server.packages.glob("*.whl")) == []
            return
        again = copy(tmp_path, address, target.gateway.url, environment=PUBLISHER)
        file.content += b"changed"
        changed = copy(tmp_path, address, target.gateway.url, environment=PUBLISHER)
    assert (first.status, first.table) == (0, counted(copied=1)), first.said
    # It has to be read to be compared.
    assert (again.status, again.table) == (0, counted(there=1)), again.said
    assert (changed.status, changed.table) == (1, counted(different=1)), changed.said
    assert (target.server.packages / name).read_bytes() == content


def test_only_some_projects(tmp_path: Path, target: Registry) -> None:
    files = {}
    for project in ("acme_one", "acme_two", "other"):
        name, content = wheel(tmp_path / "made", project, "1.0")
        files[name] = File(content)
    with Index(files) as source:
        address = f"{source.url}/simple/"
        some = copy(tmp_path, address, target.gateway.url, "--only", "Acme.*", environment=PUBLISHER)
        assert (some.status, some.table) == (0, counted(copied=2)), some.said
        source.requests.clear()
        one = copy(tmp_path, address, target.gateway.url, "--only", "other", environment=PUBLISHER)
        assert (one.status, one.table) == (0, counted(copied=1)), one.said
        # An index that mirrors another has more names than anybody wants to read.
        assert "/simple/" not in {path for path, *_ in source.requests}
        none = copy(tmp_path, address, target.gateway.url, "--only", "acne-*", environment=PUBLISHER)
    assert none.status == 2
    assert "argument --only: 'acne-*' is the name of no project" in none.said


def test_a_dry_run_changes_nothing(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    with Index({name: File(content, attributes="data-yanked")}) as source:
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, "--dry-run", environment=PUBLISHER)
        directory = copy(tmp_path, f"{source.url}/simple/", tmp_path / "carry", "--dry-run")
        assert source.ranges(name) == []
    table = {"to copy": 1, "already there": 0, "different": 0, "failed": 0}
    assert (done.status, done.table) == (0, table), done.said
    assert (directory.status, directory.table) == (0, table), directory.said
    assert listed(target, "acme") == {}
    assert not (tmp_path / "carry").exists()


def test_names_that_lead_elsewhere_are_no_packages(tmp_path: Path) -> None:
    _, content = wheel(tmp_path / "made", "acme", "1.0")
    names = ["acme-1.0/../../evil-1.0-py3-none-any.whl", "acme-/etc/evil-1.0.zip", "acme-1.0-py3-none-any.whl\n"]
    with Index({name: File(content) for name in names}) as source:
        done = copy(tmp_path, f"{source.url}/simple/", tmp_path / "carry")
    assert "evil" not in {path.name[:4] for path in tmp_path.rglob("*")}, done.said
    assert done.table["copied"] <= 1


def test_a_rate_is_kept(tmp_path: Path) -> None:
    """How long it takes at least follows from the rate, on any machine."""
    name, content = wheel(tmp_path / "made", "acme", "1.0", 600 * 1024)
    with Index({name: File(content)}) as source:
        began = time.monotonic()
        done = copy(tmp_path, f"{source.url}/simple/", tmp_path / "carry", "--limit-rate", "300K")
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    # All but the last block, which nobody has to wait for any more.
    assert time.monotonic() - began > 512 / 300
