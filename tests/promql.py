"""As much of PromQL as the rules and the dashboard of this project use."""

import re
from collections.abc import Iterator

_STRING = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_METRIC = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<matchers>[^}]*)\})?(?=[\s\[),]|$)")
_WORDS = {"unless", "and", "or", "sum", "max", "min", "avg", "absent", "rate", "increase", "time"}
_WORDS |= {"histogram_quantile", "label_replace"}


def names_and_labels(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric with the labels by which it is selected; the first ones also with those of the groupings."""
    bare = _STRING.sub('""', expression)
    groupings = {label.strip() for labels in _GROUPING.findall(bare) for label in labels.split(",")}
    bare = _GROUPING.sub("", bare)
    for match in _METRIC.finditer(bare):
        if match["name"] not in _WORDS:
            yield match["name"], {*_MATCHER.findall(match["matchers"] or ""), *groupings}
