"""What lock files name is never taken, and a lock file that cannot be read stops the run before anything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from cdk8s_pypiserver import RetentionRuleSpec
from cdk8s_pypiserver.moving.locks import read as read_for_copying
from retaining import registry_of, there
from retention.configuration import ConfigurationError
from retention.locks import read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from retention.locks import Locks

HASH = "0123456789abcdef" * 4
UV = """\
version = 1
[[package]]
name = "acme"
version = "1.0"
source = { registry = "https://pypi.example.org/simple/" }
wheels = [{ url = "https://pypi.example.org/packages/acme-1.0-py3-none-any.whl", hash = "sha256:HASH", size = 1 }]
[[package]]
name = "site"
source = { editable = "." }
"""
POETRY = """\
[[package]]
name = "Acme"
version = "1.0"
files = [{file = "acme-1.0-py3-none-any.whl", hash = "sha256:HASH"}]
[metadata]
lock-version = "2.1"
"""
PYLOCK = """\
lock-version = "1.0"
created-by = "tests"
[[packages]]
name = "acme"
version = "1.0"
index = "https://pypi.example.org/simple/"
[[packages.wheels]]
name = "acme-1.0-py3-none-any.whl"
url = "https://pypi.example.org/packages/acme-1.0-py3-none-any.whl"
hashes = {sha256 = "HASH"}
"""
REQUIREMENTS = """\
--index-url https://pypi.example.org/simple/
acme==1.0 ; python_version >= '3.10' \\
    --hash=sha256:HASH
"""
KINDS = {"uv.lock": UV, "poetry.lock": POETRY, "pylock.toml": PYLOCK, "requirements.txt": REQUIREMENTS}


def locks(directory: Path, **config_maps: Mapping[str, str]) -> Locks:
    for name, files in config_maps.items():
        folder = directory / name
        # As a kubelet has it.
        (folder / "..data").mkdir(parents=True)
        for file, text in files.items():
            (folder / "..data" / file).write_text(text.replace("HASH", HASH))
            (folder / file).symlink_to(f"..data/{file}")
    return read(directory, list(config_maps))


@pytest.mark.parametrize("file", KINDS)
def test_each_kind_names_its_versions(file: str, tmp_path: Path) -> None:
    found = locks(tmp_path, site={file: KINDS[file]}, more={f"team-a.{file}": KINDS[file]})
    assert found.naming("acme", Version("1.0"), []) == f"site/{file}"
    assert found.naming("acme", Version("1.0.0"), []) == f"site/{file}"
    assert found.naming("acme", Version("2.0"), [("sha256", HASH)]) == f"site/{file}"
    assert found.naming("acme", Version("2.0"), [("sha256", "0" * 64)]) is None
    assert found.naming("other", Version("1.0"), [("sha256", HASH)]) is None
    assert found.files == {f"site/{file}": 1, f"more/team-a.{file}": 1}


@pytest.mark.parametrize("file", KINDS)
def test_copying_and_retention_agree_on_what_a_lock_file_names(file: str, tmp_path: Path) -> None:
    found = locks(tmp_path, site={file: KINDS[file]})
    copied = [each for each in read_for_copying(tmp_path / "site" / file, []) if each.hashes]
    assert [each.project for each in copied] == ["acme"]
    for each in copied:
        assert found.naming(each.project, Version("99"), each.hashes)


@pytest.mark.parametrize(
    ("line", "named", "free"),
    [
        ("acme==1.*", ["1.0", "1.5rc1"], ["2.0"]),
        ("acme>=2,<3", ["2.0", "2.9.dev1"], ["3.0", "1.0"]),
        ("Acme", ["0.1", "9.0"], []),
        ("acme @ https://pypi.example.org/packages/acme-1.0-py3-none-any.whl", ["0.1", "9.0"], []),
        ("acme[extra]==1.0  # why", ["1.0"], ["2.0"]),
        ("acme==1.0+cpu", ["1.0+cpu"], ["1.0"]),
        ("acme==1.0", ["1.0", "1.0+cpu"], ["1.1"]),
    ],
)
def test_requirements_name_what_they_could_install(
    line: str, named: list[str], free: list[str], tmp_path: Path
) -> None:
    found = locks(tmp_path, site={"requirements.txt": f"# by hand\n--pre\n{line}\n"})
    assert [each for each in (*named, *free) if found.naming("acme", Version(each), [])] == named


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "the ConfigMap site is not there, or has no lock file"),
        ({"Pipfile.lock": "{}"}, "site/Pipfile.lock is of no kind that is known by its name"),
        ({"uv.lock": "[[package"}, "site/uv.lock cannot be read as a lock file: TOMLDecodeError"),
        ({"uv.lock": "version = 1"}, "site/uv.lock cannot be read as a lock file: KeyError: 'package'"),
        ({"uv.lock": "package = [1]"}, "site/uv.lock cannot be read as a lock file: TypeError"),
        ({"a.txt": "-r other.txt"}, "it leads to another file (-r other.txt)"),
        ({"a.txt": "-c other.txt"}, "it leads to another file (-c other.txt)"),
        ({"a.txt": "./acme.whl"}, "'./acme.whl' is no requirement"),
        ({"a.txt": "acme==one"}, "is no requirement"),
    ],
)
def test_what_cannot_be_read_is_refused(files: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        locks(tmp_path, site=files)
    assert says in str(refused.value)


def test_a_run_leaves_what_they_name_and_begins_nothing_without_them(tmp_path: Path) -> None:
    files = {"acme-1.0": 400, "acme-2.0": 400, "acme-3.0": 400}
    with registry_of(tmp_path, files) as (registry, job):
        rule = RetentionRuleSpec(keep_versions=1)
        missing = job.run(rule, lock_config_maps=["team-a"])
        assert missing.status == 2
        assert missing.termination == "cannot begin: the ConfigMap team-a is not there, or has no lock file\n"
        assert there(registry) == sorted(files)
        folder = tmp_path / "job/locks/team-a"
        folder.mkdir()
        (folder / "uv.lock").write_text(UV.replace("HASH", HASH))
        done = job.run(rule, lock_config_maps=["team-a"])
        assert (done.status, done.removed, done.spared) == (0, ["acme 2.0"], ["acme 1.0"]), done.said
        assert "named by team-a/uv.lock" in done.said
        assert "team-a/uv.lock names 1 package." in done.said
