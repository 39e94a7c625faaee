"""Manifests as YAML that every reader takes for the same: PyYAML, which writes it, and those of Kubernetes."""

import json
import re
from functools import cache

import yaml

from .patches import Manifest

# What YAML 1.1 as PyYAML knows it takes for text, and the readers of Kubernetes for a number or a boolean.
_NOT_PLAIN = re.compile(r"[-+]?(?:\d[\d_]*)?\.?[\d_]*(?:[eE][-+]?\d+)?|0[oO][0-7_]+|[yYnN]")


class _Dumper(yaml.CSafeDumper):
    """Writes texts of many lines as such, and quotes what another reader would not take for a text."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else "'" if _NOT_PLAIN.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(document: Manifest) -> str:
    """Return the document as YAML, fields in their order."""
    return _from_json(json.dumps(document))


@cache
def _from_json(document: str) -> str:
    # Several charts hold the same files, which are long.
    text: str = yaml.dump(json.loads(document), Dumper=_Dumper, sort_keys=False, width=10_000)
    return text
