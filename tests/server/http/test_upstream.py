from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.http import upstream
from server.http.upstream import Backend, UnknownPypiserverError

if TYPE_CHECKING:
    from pathlib import Path

    import webtest


class Empty(Backend):
    """Stands for a backend: nothing asks it anything."""

    def __init__(self) -> None:
        pass


def test_the_installed_pypiserver_is_known() -> None:
    upstream.check()


def test_a_route_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "KNOWN_ROUTES", upstream.KNOWN_ROUTES | {("GET", "/simple/:project/json")})
    monkeypatch.setattr(Empty, "__abstractmethods__", frozenset())
    with pytest.raises(UnknownPypiserverError, match=r"has no route.*json"):
        upstream.application(upstream.configuration(tmp_path), Empty())


def test_a_project_that_is_not_here_is_never_looked_for_elsewhere(app: webtest.TestApp) -> None:
    """pypiserver would send the client to the public index."""
    assert app.get("/simple/requests/", status=404).text == "Not Found (requests does not exist)\n"


@pytest.mark.parametrize(
    ("filename", "found"),
    [
        ("My.Pkg-1.0.tar.gz", ("My.Pkg", "1.0")),
        ("my_pkg-1.0-1-py3-none-any.whl", ("my_pkg", "1.0-1")),
        ("README", None),
    ],
)
def test_names_are_read_as_pypiserver_reads_them(filename: str, found: tuple[str, str] | None) -> None:
    assert upstream.name_and_version(filename) == found
    assert upstream.normalised("My._.Pkg") == "my-pkg"
