from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from server.access.who import HEADER, RIGHTS, Right, Scope, Who

if TYPE_CHECKING:
    import webtest

FORM = {":action": "report", "name": "retention", "report": json.dumps({"reason": ""})}


@pytest.mark.parametrize("right", RIGHTS)
def test_a_token_reports_of_what_it_may_do(app: webtest.TestApp, right: Right) -> None:
    who = Who("ci", "tokens", "token", scope=Scope(("*",), frozenset[Right]({right})))
    is_allowed = right in {"yank", "remove"}
    answer = app.post("/", FORM, headers={HEADER: who.written}, status=200 if is_allowed else 403)
    assert is_allowed or answer.text == "token ci has no right to yank or remove\n"


def test_a_user_reports(app: webtest.TestApp) -> None:
    app.post("/", FORM, headers={HEADER: Who("robot", "publishers").written})
