from __future__ import annotations

import pytest

from server.fetching.answers import AwayError
from server.store.fetcher import counters
from server.store.objects import Objects


@pytest.mark.parametrize("place", ["store:bucket/folder", "store:bucket/folder/"])
def test_an_object_is_asked_for_in_a_folder_that_no_store_is_asked_about(place: str) -> None:
    """Without the slash rclone asks whether the folder is a file, which some stores say; then it has nothing below."""
    objects = Objects("http://127.0.0.1:1", place, counters())
    assert (
        objects.url("nested/demo-1!2.0+local.1.tar.gz")
        == "/[store:bucket/folder/]/nested/demo-1%212.0%2Blocal.1.tar.gz"
    )


def test_who_asks_while_nobody_answers_is_told_at_once_and_nothing_of_where() -> None:
    counted = counters()
    objects = Objects("http://127.0.0.1:1", "store:bucket", counted)
    for _ in range(3):
        with pytest.raises(AwayError, match="The store does not answer") as said, objects.answer(objects.url("a"), {}):
            pass
        assert "127.0.0.1" not in str(said.value)
    assert 'pypiserver_fetching_requests_total{result="error"} 1\n' in counted.text({})
