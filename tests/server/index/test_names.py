from __future__ import annotations

import pytest

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
