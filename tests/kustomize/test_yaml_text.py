"""YAML as it is written: whoever reads it gets what was meant."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdk8s_pypiserver.kustomize.yaml_text import to_yaml

NO_NUMBERS = ["1e3", "12345e67", "-.5", "5.", ".", "-", "1_000", "010", "0o17", "0x1F", "0b11", "1:30", "-12:30:45.5"]
NO_DATES = ["2001-01-02", "2001-1-2 3:04:05", "2001-12-14t21:59:43.10-05:00"]
NO_WORDS = ["", "y", "N", "yes", "off", "True", "null", "~", "=", "<<", ".inf", "-.INF", ".NaN"]
INDICATORS = [
    *("a: b", "a:", ":", ": a", "a #b", "#a", "- a", "? a", "?", "---", "--- a", "...", "[a", "{a}", "*a", "&a", "!a"),
    *("%a", "@a", "`a`", ">", "|", "'a'", '"a"', "it's", "a\\nb", "-a", ":a", "?a", "a:b", "a#b", "http://a:80/#b"),
]
SPACES = [" ", " a", "a ", "\t", "a\tb", "\n", "\n\n", "\na", " a\nb", "a\n b", "a \nb", "a\n\nb", "a\nb ", "a\r\nb"]
ENDS = ["a\nb", "a\nb\n", "a\nb\n\n", "a\n\n\n"]
OTHERS = ["é", "a\né\n", "\x7f", "\x85", "\u2028", "\U0001f40d", "a b" * 10_000]
TEXTS = [*NO_NUMBERS, *NO_DATES, *NO_WORDS, *INDICATORS, *SPACES, *ENDS, *OTHERS, "a", "127.0.0.1", "1.2.3", "a b"]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**70, 0.5, 1e20, 1e-7, {}, [], [[]], [{}], {"a": {}}),
    *([["a", ["b"]], ["c"]], [{"a": [1, {"b": "c\nd"}], "e": "f\n"}], {"a": [{"b": [{"c": ["d\ne"]}]}]}),
    *({text[:1000]: text for text in TEXTS}, TEXTS),
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
def test_pyyaml_reads_what_was_written(value: Any, loader: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    document = {"value": value, "after": "it"}
    assert yaml.load(to_yaml(document), loader) == document  # noqa: S506 - both are safe ones


def test_the_clients_of_kubernetes_read_what_was_written(tmp_path: Path) -> None:
    data = {f"text-{number}": text for number, text in enumerate(TEXTS)}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts"}, "data": data}
    (tmp_path / "texts.yaml").write_text(to_yaml(config_map), "utf-8")
    command = ["kubectl", "label", "--local", "--filename", str(tmp_path / "texts.yaml"), "--output", "json", "a=b"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["data"] == data
