"""Out to a directory, and in from one."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from copying import PUBLISHER, READER, File, Index, copy, counted, wheel
from gateway_programs import Registry, make_sdist, make_wheel, registry
from moving.test_registries import listed, yank

if TYPE_CHECKING:
    from pathlib import Path

ACME = "acme-1.0-py3-none-any.whl"


def noted(directory: Path) -> dict[str, dict[str, object]]:
    """The manifest of a directory."""
    lines = [json.loads(line) for line in (directory / "manifest.jsonl").read_text().splitlines()]
    return {line["filename"]: line for line in lines}


def test_carried_over(tmp_path: Path, target: Registry) -> None:
    carried = tmp_path / "carry"
    with registry(tmp_path / "source") as source:
        source.upload(make_wheel(tmp_path, "acme", "1.0"))
        source.upload(make_sdist(tmp_path, "other", "1.0"))
        yank(source, "acme", "1.0", "broken")
        out = copy(tmp_path, f"{source.gateway.url}/simple/", carried, environment=READER)
        times = {
            name: listed(source, name[: -len("-1.0")])[file]["upload-time"]
            for name, file in {"acme-1.0": ACME, "other-1.0": "other-1.0.tar.gz"}.items()
        }
    again = copy(tmp_path, carried, target.gateway.url, environment=PUBLISHER)
    assert (out.status, out.table) == (0, counted(copied=2)), out.said
    assert (again.status, again.table) == (0, counted(copied=2)), again.said
    assert sorted(path.name for path in carried.iterdir()) == [ACME, "manifest.jsonl", "other-1.0.tar.gz"]
    assert noted(carried)[ACME]["yanked"] == "broken"
    assert listed(target, "acme")[ACME]["yanked"] == "broken"
    assert listed(target, "other")["other-1.0.tar.gz"]["yanked"] is False
    # Who copies the files onto a volume has the times too.
    assert abs((carried / ACME).stat().st_mtime - _seconds(str(times["acme-1.0"]))) < 1


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


def test_the_manifest_follows_the_source(tmp_path: Path) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    file = File(content)
    with Index({name: file}) as source:
        copy(tmp_path, f"{source.url}/simple/", tmp_path / "carry")
        assert noted(tmp_path / "carry")[name]["yanked"] is None
        file.attributes = 'data-yanked="late"'
        yanked = copy(tmp_path, f"{source.url}/simple/", tmp_path / "carry")
        assert noted(tmp_path / "carry")[name]["yanked"] == "late"
    assert (yanked.status, yanked.table) == (0, counted(there=1)), yanked.said


def test_a_manifest_that_a_kill_has_cut(tmp_path: Path, target: Registry) -> None:
    (one, first), (two, second) = wheel(tmp_path / "made", "acme", "1.0"), wheel(tmp_path / "made", "acme", "2.0")
    carried = tmp_path / "carry"
    with Index({one: File(first), two: File(second, attributes="data-yanked")}) as source:
        copy(tmp_path, f"{source.url}/simple/", carried, "--jobs", "1")
        lines = (carried / "manifest.jsonl").read_bytes()
        (carried / "manifest.jsonl").write_bytes(lines[: len(lines) * 3 // 4])
        again = copy(tmp_path, f"{source.url}/simple/", carried)
    assert (again.status, again.table) == (0, counted(there=2)), again.said
    done = copy(tmp_path, carried, target.gateway.url, environment=PUBLISHER)
    assert (done.status, done.table) == (0, counted(copied=2)), done.said
    assert {name: file["yanked"] for name, file in listed(target, "acme").items()} == {one: False, two: True}


def test_a_directory_of_pypiserver(tmp_path: Path, target: Registry) -> None:
    """One without a manifest, with folders, and with what a server hides."""
    packages = tmp_path / "packages"
    for folder in (packages, packages / "nested", packages / ".pypiserver"):
        folder.mkdir()
    make_wheel(packages, "acme", "1.0")
    make_sdist(packages / "nested", "other", "1.0")
    make_wheel(packages / ".pypiserver", "hidden", "1.0")
    (packages / "notes.txt").write_text("no package")
    done = copy(tmp_path, packages, target.gateway.url, environment=PUBLISHER)
    assert (done.status, done.table) == (0, counted(copied=2)), done.said


def test_a_file_that_was_changed_on_the_way(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0", 1000)
    carried = tmp_path / "carry"
    with Index({name: File(content)}) as source:
        copy(tmp_path, f"{source.url}/simple/", carried)
    changed = bytearray(content)
    changed[500] ^= 1
    (carried / name).write_bytes(changed)
    done = copy(tmp_path, carried, target.gateway.url, environment=PUBLISHER)
    assert (done.status, done.table) == (1, counted(failed=1)), done.said
    assert f"failed: {name}: it is not what the manifest says" in done.said
    assert listed(target, "acme") == {}


def test_from_directory_to_directory(tmp_path: Path) -> None:
    source, carried = tmp_path / "source", tmp_path / "carry"
    source.mkdir()
    make_wheel(source, "acme", "1.0")
    done = copy(tmp_path, source, carried)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    # Not the same file: who changes the one must not change the other.
    assert not (source / ACME).samefile(carried / ACME)
    make_wheel(source, "acme", "1.0", b"another content")
    differs = copy(tmp_path, source, carried)
    assert (differs.status, differs.table) == (1, counted(different=1)), differs.said
    assert b"another content" not in (carried / ACME).read_bytes()
