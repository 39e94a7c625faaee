from __future__ import annotations

import os
import subprocess
import sys

import pytest

from programs import RUNTIME
from server.index import names


@pytest.mark.parametrize(
    ("filename", "found"),
    [
        ("My.Pkg-1.0.tar.gz", ("My.Pkg", "1.0")),
        ("my_pkg-1.0-1-py3-none-any.whl", ("my_pkg", "1.0-1")),
        ("README", None),
        ("a-1.0-py3-none-any.whl\n", None),
    ],
)
def test_names_are_read_as_pypiserver_reads_them(filename: str, found: tuple[str, str] | None) -> None:
    assert names.name_and_version(filename) == found
    assert names.normalised("My._.Pkg") == "my-pkg"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a-1.0.tar.gz", True),
        ("team.a/old+new/My._Pkg-1!1.0+local.1.tar.gz.asc", True),
        ("of a team/a-1.0.tar.gz", False),
        (".team/a-1.0.tar.gz", False),
        ("a-1.0 (1).zip", False),
        ("a-1.0-py3.8-x.rpm", False),
        ("-1.0.zip", False),
        ("a_-1.0.zip", False),
        ("a+b-1.0.zip", False),
    ],
)
def test_what_the_gateway_has_no_address_for_cannot_be_reached(path: str, expected: bool) -> None:
    guess = names.name_and_version(path.rpartition("/")[2])
    assert guess
    assert names.is_reachable(path, guess[0]) == expected


@pytest.mark.parametrize("module", ["server.store.main", "server.index.spelling"])
def test_a_program_that_only_needs_the_spelling_does_without_pypiserver(module: str) -> None:
    script = f"import sys, {module}; sys.exit('pypiserver' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(RUNTIME)})
