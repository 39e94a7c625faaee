from __future__ import annotations

import pytest

from server.http.negotiation import JSON, wants_json

PIP = f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
UV = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

ACCEPTS = {
    "": False,
    "*/*": False,
    "text/html": False,
    "text/html, */*; q=0.1": False,
    BROWSER: False,
    "application/vnd.pypi.simple.v1+html": False,
    PIP: True,
    UV: True,
    JSON: True,
    JSON.upper(): True,
    "application/vnd.pypi.simple.latest+json": True,
    f"{JSON};q=0.5, text/html;q=0.4": True,
    f"text/html;q=0.4,{JSON};q=0.5": True,
    f"text/html, {JSON};q=0.9": False,
    f"{JSON};q=0.9, */*": False,
    f"{JSON}, */*;q=0.1": True,
    f"*/*;q=0.1, {JSON}": True,
    # As much of both, or of neither.
    f"{JSON}, text/html": False,
    f"{JSON};q=0": False,
    "application/*": False,
    "text/plain": False,
    "text/*;q=0.2, application/*;q=0.1": False,
    # Not what the grammar says.
    f"{JSON};q=high": False,
    f"{JSON};q=2, text/html;q=0.1": False,
    f"{JSON};v=1; Q = 1 , text/html;q=0.1": True,
    ",;,": False,
}
"""Accept headers, and whether the answer is JSON."""


@pytest.mark.parametrize(("accept", "expected"), ACCEPTS.items())
def test_who_gets_json(accept: str, expected: bool) -> None:
    assert wants_json(accept) is expected
