from __future__ import annotations

import random

from server.index.blocks import MOST_KEYS, Blocks


def test_lines_stay_sorted_and_only_those_near_a_change_are_made_anew() -> None:
    made: list[str] = []

    def line(key: str) -> str:
        made.append(key)
        return f"<{key}>"

    chance = random.Random(1)  # noqa: S311 - any order will do, and the same each time
    blocks = Blocks()
    keys = [f"{number:05}" for number in range(10 * MOST_KEYS)]
    for key in chance.sample(keys, len(keys)):
        blocks.add(key)
    assert blocks.text("form", line, ",") == ",".join(f"<{key}>" for key in keys)
    made.clear()
    assert blocks.text("form", line, ",").count("<") == len(keys)
    assert made == []
    blocks.add("00100a")
    blocks.remove("03000")
    blocks.renew("01000")
    expected = sorted({*keys, "00100a"} - {"03000"})
    assert blocks.text("form", line, ",") == ",".join(f"<{key}>" for key in expected)
    assert 0 < len(made) <= 3 * MOST_KEYS
    assert blocks.text("other", str, "") == "".join(expected), "another form has lines of its own"
    for key in chance.sample(expected, len(expected)):
        blocks.remove(key)
    assert blocks.text("form", line, ",") == ""
    blocks.add("again")
    assert blocks.text("form", line, ",") == "<again>"
