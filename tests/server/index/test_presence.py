from __future__ import annotations

import pytest

from server.http.bottle import HTTPError
from server.index.listing import Listing
from server.index.presence import UNKNOWN, Presence
from server.volume.content import Stamp
from server.volume.problems import Problems


def test_what_waits_to_be_read_is_not_new() -> None:
    unread: frozenset[str] | None = None
    listing = Listing()
    presence = Presence(listing, Problems(), lambda: None, lambda: unread)
    listing.add("", "listed-1.0.zip", Stamp(1, 1))
    assert not presence.is_new("listed")
    with pytest.raises(HTTPError) as raised:
        presence.is_new("demo")
    assert (raised.value.status_code, raised.value.body) == (503, UNKNOWN)
    assert presence.left_out() == set()
    unread = frozenset({"demo"})
    assert not presence.is_new("demo")
    assert presence.left_out() == {"demo"}
    assert presence.is_new("other")
