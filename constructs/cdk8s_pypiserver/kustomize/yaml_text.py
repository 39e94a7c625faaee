"""Manifests as YAML that every reader takes for the same: PyYAML, which writes it, and those of Kubernetes."""

import json
import re
from functools import cache
from typing import Any

import yaml

from cdk8s_pypiserver.base.manifest import Manifest

# What YAML 1.1 as PyYAML knows it takes for text, and the readers of Kubernetes for a number or a boolean.
_NOT_PLAIN = re.compile(r"[-+]?(?:\d[\d_]*)?\.?[\d_]*(?:[eE][-+]?\d+)?|0[oO][0-7_]+|[yYnN]")
_TEXT = "tag:yaml.org,2002:str"
_RESOLVER = yaml.resolver.Resolver()
_REPRESENTER = yaml.representer.SafeRepresenter()


def to_yaml(document: Manifest) -> str:
    """Return the document as YAML, fields in their order."""
    return _from_json(json.dumps(document))


# Several charts hold the same files, which are long.
@cache
def _from_json(document: str) -> str:
    # Made of events: of a document PyYAML would make a tree of nodes first, which takes as long again.
    events = [yaml.StreamStartEvent(), yaml.DocumentStartEvent(explicit=False)]
    _add_events(json.loads(document), events)
    events += [yaml.DocumentEndEvent(explicit=False), yaml.StreamEndEvent()]
    text: str = yaml.emit(events, Dumper=yaml.CSafeDumper, width=10_000)
    return text


def _add_events(value: Any, events: list[yaml.Event]) -> None:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, str):
        events.append(_text(value))
    elif isinstance(value, dict):
        events.append(yaml.MappingStartEvent(None, None, implicit=True, flow_style=False))
        for key, item in value.items():
            events.append(_text(key))
            _add_events(item, events)
        events.append(yaml.MappingEndEvent())
    elif isinstance(value, list):
        events.append(yaml.SequenceStartEvent(None, None, implicit=True, flow_style=False))
        for item in value:
            _add_events(item, events)
        events.append(yaml.SequenceEndEvent())
    else:
        events.append(yaml.ScalarEvent(None, None, (True, False), _REPRESENTER.represent_data(value).value))


@cache
def _text(value: str) -> yaml.ScalarEvent:
    """Return a text of many lines as such, and in quotes what a reader would not take for a text."""
    if "\n" in value:
        return yaml.ScalarEvent(None, None, (True, True), value, style="|")
    tag = _RESOLVER.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    plain = tag == _TEXT and not _NOT_PLAIN.fullmatch(value)
    return yaml.ScalarEvent(None, None, (plain, True), value)
