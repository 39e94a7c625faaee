"""As much of PromQL as the rules and the dashboard of this project use."""

import re
from collections.abc import Iterator

_STRING = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_METRIC = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<matchers>[^}]*)\})?(?=[\s\[),]|$)")
_WORDS = {"unless", "and", "or", "sum", "max", "min", "avg", "absent", "rate", "increase", "time"}
_WORDS |= {"histogram_quantile", "label_replace", "max_over_time", "absent_over_time", "group_right"}


def names_and_labels(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric with the labels by which it is selected, and by which it is grouped if it is the only one."""
    bare = _STRING.sub('""', expression)
    groupings = {label.strip() for labels in _GROUPING.findall(bare) for label in labels.split(",")}
    bare = _GROUPING.sub("", bare)
    found = [match for match in _METRIC.finditer(bare) if match["name"] not in _WORDS]
    if len({match["name"] for match in found}) > 1:
        groupings = set()
    for match in found:
        yield match["name"], {*_MATCHER.findall(match["matchers"] or ""), *groupings}
