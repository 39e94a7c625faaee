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


@pytest.mark.parametrize("module", ["server.store.main", "server.index.spelling"])
def test_a_program_that_only_needs_the_spelling_does_without_pypiserver(module: str) -> None:
    script = f"import sys, {module}; sys.exit('pypiserver' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(RUNTIME)})
