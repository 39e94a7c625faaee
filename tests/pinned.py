"""What pods install by hashes, compared with the extras and the versions that are tested."""

import re
from collections.abc import Set as AbstractSet

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from manifests import ROOT


def check(text: str, extra: str, among: AbstractSet[str]) -> None:
    """Compare a file of requirements with an extra, which must have the libraries `among` others."""
    lines = [line for line in text.splitlines() if not line.startswith(" ")]
    pinned = {Requirement(line.rstrip("\\ ")) for line in lines}
    versions = {canonicalize_name(each.name): str(each.specifier) for each in pinned}
    constraints = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    tested = {
        canonicalize_name(each.name): str(each.specifier)
        for each in constraints
        if each.marker is None or each.marker.evaluate({"python_version": "3.14"})
    }
    assert {name: tested.get(name) for name in versions} == versions
    project = (ROOT / "pyproject.toml").read_text()
    (found,) = re.findall(rf"^{extra} = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    wanted = [Requirement(each) for each in re.findall(r'^ *"(.*)",', found, re.MULTILINE)]
    needed = {canonicalize_name(each.name) for each in wanted if not each.marker}
    assert among <= needed <= versions.keys()


def without_hashes(text: str) -> list[str]:
    """Return what is known by no sha256."""
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert len(blocks) > 10
    return [each for each in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", each)]
