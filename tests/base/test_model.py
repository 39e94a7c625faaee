"""Specs: all that is wrong is said at once, in plain words; what was made stays as it is."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

from cdk8s_pypiserver import Problem, Resources, Spec, SpecError
from cdk8s_pypiserver.base.fields import Bytes, Labels

JARGON = ("Input should", "input_value", "input_type", "Extra inputs", "pydantic", "http", "Value error", "validation")


class Disk(Spec):
    kind: Literal["disk"] = "disk"
    size: Bytes = "1Gi"
    node: str | None = None


class Bucket(Spec):
    kind: Literal["bucket"] = "bucket"
    bucket: str


class Shelf(Spec):
    disk: Disk = Disk()
    volume: Annotated[Disk | Bucket, Field(discriminator="kind")] = Disk()
    labels: Labels = Field(default_factory=dict)
    hosts: Sequence[str] = ()
    raw: Mapping[str, Any] = Field(default_factory=dict)
    budget: int | str = 1
    copies: Annotated[int, Field(ge=1, le=9)] = 1
    on_fire: bool = False

    def conflicts(self) -> Iterator[Problem]:
        yield from super().conflicts()
        if self.copies > 3:
            yield self.problem("copies", "must not be above 3 on a disk")
        if self.disk.node is None and self.on_fire:
            yield self.problem("disk.node", "must be named while it burns")


def said(make: Callable[[], object]) -> list[str]:
    """Return the lines of the refusal, the first of which names what was to be made."""
    with pytest.raises(SpecError) as refused:
        make()
    lines = str(refused.value).split("\n  ")
    assert not [word for word in JARGON if word in str(refused.value)]
    assert len(lines) == 1 + len(refused.value.problems)
    return lines


def test_all_that_is_wrong_is_said_at_once_with_field_value_and_reason() -> None:
    wrong = {
        "disk": {"size": "500m", "sise": "1Gi"},
        "volume": {"kind": "bucket"},
        "labels": {"example.org/team": "a b", "bad key": "ok"},
        "hosts": ["a", 1],
        "copies": 10,
        "copy": 1,
        "on_fire": "no",
    }
    assert said(lambda: Shelf.model_validate(wrong)) == [
        "Shelf cannot be made:",
        "disk.size ('500m') must be bytes, and m is a thousandth of one: is 500Mi meant?",
        "disk.sise ('1Gi') is no field here; did you mean size?",
        "volume.bucket is missing",
        "labels[\"example.org/team\"] ('a b') must be letters, digits, - _ and . with a letter or digit at both ends",
        (
            "labels[\"bad key\"] ('bad key') must be a label key such as team or example.org/team: "
            "letters, digits, - _ and . (63 at most after the /)"
        ),
        "hosts[1] (1) must be text; in YAML, put it in quotes where it looks like something else",
        "copies (10) must be at most 9",
        "on_fire ('no') must be true or false",
        "copy (1) is no field here; did you mean copies?",
    ]


def test_all_that_cannot_work_together_is_said_at_once() -> None:
    assert said(lambda: Shelf(copies=4, on_fire=True)) == [
        "Shelf cannot be made:",
        "copies (4) must not be above 3 on a disk",
        "disk.node (None) must be named while it burns",
    ]


def test_what_cannot_work_together_in_a_spec_within_is_said_where_it_stands() -> None:
    class NamedDisk(Disk):
        def conflicts(self) -> Iterator[Problem]:
            yield self.problem("node", "must be named")
            yield self.problem("node", "must be a node of the house")

    class House(Spec):
        shelf: Shelf = Shelf()
        volume: Annotated[NamedDisk | Bucket, Field(discriminator="kind")]
        resources: Resources = Resources()

    house = {"shelf": {"copies": 4}, "volume": {"kind": "disk"}, "resources": {"cpu_request": "2", "cpu_limit": "1"}}
    assert said(lambda: House.model_validate(house))[1:] == [
        "shelf.copies (4) must not be above 3 on a disk",
        "volume.node (None) must be named",
        "volume.node (None) must be a node of the house",
        "resources.cpu_request ('2') must not be above cpu_limit (1)",
    ]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"size": "1Gi"}, "size ('1Gi') is no field here; did you mean disk.size?"),
        ({"onFire": True}, "onFire (True) is no field here; did you mean on_fire?"),
        (
            {"qqq": 1},
            "qqq (1) is no field here; there are disk, volume, labels, hosts, raw, budget, copies, on_fire",
        ),
        ({"volume": {"kind": "tape"}}, "volume.kind ('tape') must be one of 'disk', 'bucket'"),
        ({"volume": {"size": "1Gi"}}, "volume.kind is missing"),
        ({"disk": None}, "disk (None) must be a mapping of fields"),
        ({"disk": {"kind": "bucket"}}, "disk.kind ('bucket') must be 'disk'"),
        ({"hosts": "a"}, "hosts ('a') must be a list, even of one entry"),
        ({"hosts": {"a": 1}}, "hosts (given) must be a list"),
        ({"labels": ["a"]}, "labels (['a']) must be a mapping"),
        ({"copies": True}, "copies (True) must be a whole number"),
        ({"copies": 1.5}, "copies (1.5) must be a whole number"),
        ({"copies": -(10**9)}, "copies (-1000000000) must be at least 1"),
        ({"copies": 10**5000}, "copies (a number of too many digits) must be at most 9"),
        ({"copies": float("nan")}, "copies (nan) must be a whole number"),
        ({"disk": {"node": "a\0b"}}, "disk.node ('a\\x00b') must not hold control characters"),
        ({"disk": {"node": "a\ud800"}}, "disk.node ('a\\ud800') must not hold control characters"),
        ({"raw": {"a": [{"b": "\x1b[31m"}]}}, "raw.a[0].b ('\\x1b[31m') must not hold control characters"),
        ({"raw": {"a\0": 1}}, "raw[\"a\\u0000\"] ('a\\x00') must not hold control characters"),
        ({"labels": {"a b": "c d"}}, "labels[\"a b\"] ('a b') must be a label key"),
        ({"budget": []}, "budget ([]) must be a whole number, or must be text"),
        (
            {True: 1},
            "True (True) must be the name of a field, as text; YAML reads on, off, yes and no as true or false",
        ),
        ({"disk": {1: 2}}, 'disk["1"] (1) must be the name of a field, as text;'),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else "",
)
def test_a_value_is_refused_in_plain_words(wrong: dict[Any, Any], line: str) -> None:
    assert said(lambda: Shelf.model_validate(wrong))[1].startswith(line)


def test_a_long_value_is_shown_in_part() -> None:
    assert len(said(lambda: Shelf.model_validate({"copies": "9" * 10_000}))[1]) < 200
    assert len(said(lambda: Shelf.model_validate({"hosts": [[0] * 10_000]}))[1]) < 200


@pytest.mark.parametrize("given", [None, [], "text", 3, Disk()], ids=repr)
def test_something_else_than_a_mapping_is_refused(given: object) -> None:
    assert said(lambda: Shelf.model_validate(given))[1].startswith("must be a mapping of fields")


def test_a_spec_in_a_spec_says_itself_what_is_wrong_with_it() -> None:
    assert said(lambda: Shelf(disk=Disk(size="x")))[0] == "Disk cannot be made:"


def test_json_is_refused_alike() -> None:
    assert said(lambda: Shelf.model_validate_json('{"copies": 0}'))[1] == "copies (0) must be at least 1"
    assert said(lambda: Shelf.model_validate_json("{"))[1].startswith("is not JSON: ")
    assert Shelf.model_validate_json(Shelf(hosts=["a"]).model_dump_json()) == Shelf(hosts=["a"])


def test_nothing_is_skipped_without_assertions() -> None:
    program = "from cdk8s_pypiserver.base.model import Resources; Resources(cpu_request='2', cpu_limit='1')"
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cpu_request ('2') must not be above cpu_limit (1)" in done.stderr


def test_the_error_is_for_programs_too() -> None:
    with pytest.raises(ValueError, match="cannot be made") as refused:
        Shelf(copies=0, budget=[])  # type: ignore[arg-type]
    assert isinstance(refused.value, SpecError)
    assert [problem.field for problem in refused.value.problems] == ["budget", "copies"]
    assert refused.value.problems[1].value == 0
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)  # noqa: S301 - our own


# A spec that cannot be changed.

FULL = Shelf(labels={"a": "b"}, hosts=["a"], raw={"list": [{"a": [1]}]})


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: setattr(spec, "copies", 2),
        lambda spec: setattr(spec, "copy", 2),
        lambda spec: delattr(spec, "copies"),
        lambda spec: spec.labels.update(c="d"),
        lambda spec: spec.labels.__setitem__("c", "d"),
        lambda spec: spec.labels.__delitem__("a"),
        lambda spec: spec.labels.__ior__({"c": "d"}),
        lambda spec: spec.labels.setdefault("c", "d"),
        lambda spec: spec.labels.clear(),
        lambda spec: spec.labels.pop("a"),
        lambda spec: spec.labels.popitem(),
        lambda spec: spec.raw["list"][0]["a"].append(2),
        lambda spec: spec.raw["list"][0].update(a=2),
        lambda spec: spec.hosts.append("b"),
        lambda spec: type(spec)().labels.update(c="d"),
    ],
)
def test_a_spec_cannot_be_changed(change: Callable[[Any], object]) -> None:
    before = FULL.model_dump()
    with pytest.raises((SpecError, TypeError, AttributeError), match=r"cannot be changed|no attribute"):
        change(FULL)
    assert FULL.model_dump() == before
    assert Shelf().labels == {}


def test_what_it_was_made_of_can_be_changed_without_changing_it() -> None:
    labels, hosts, raw = {"a": "b"}, ["a"], {"list": [{"a": [1]}]}
    spec = Shelf(labels=labels, hosts=hosts, raw=raw)
    labels["a"] = "c"
    hosts.append("b")
    raw["list"][0]["a"].append(2)
    assert spec == FULL


def test_a_spec_can_be_copied_stored_and_written() -> None:
    assert pickle.loads(pickle.dumps(FULL)) == FULL  # noqa: S301 - our own
    assert copy.deepcopy(FULL) == FULL
    assert FULL.model_copy(deep=True) == FULL
    assert Shelf.model_validate(FULL.model_dump()) == FULL
    assert Shelf.model_validate(yaml.safe_load(yaml.safe_dump(FULL.model_dump()))) == FULL
    assert json.loads(FULL.model_dump_json())["raw"] == {"list": [{"a": [1]}]}
    assert hash(Shelf(labels={"a": "b"})) == hash(Shelf(labels={"a": "b"}))


def test_a_copy_with_other_values_is_checked_too() -> None:
    assert FULL.replace(copies=2) == FULL.model_copy(update={"copies": 2}) == Shelf(**{**dict(FULL), "copies": 2})
    assert said(lambda: FULL.replace(copies=4))[1] == "copies (4) must not be above 3 on a disk"
    assert said(lambda: FULL.model_copy(update={"copies": 4}))[1] == "copies (4) must not be above 3 on a disk"
    assert said(lambda: FULL.model_copy(update={"copy": 4}))[1].endswith("did you mean copies?")


# From YAML.


def refusal_of(path: Path, text: str | bytes, spec: type[Spec] = Shelf) -> list[str]:
    file = path / "shelf.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    lines = said(lambda: spec.from_yaml(file))
    return [line.replace(str(file), "shelf.yaml") for line in lines[1:]]


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "shelf.yaml"
    file.write_text("labels: &usual {a: b}\ndisk: {size: 5Gi}\nhosts:\n- a\nraw: {<<: *usual, c: d}\n")
    expected = Shelf(labels={"a": "b"}, disk=Disk(size="5Gi"), hosts=["a"], raw={"a": "b", "c": "d"})
    assert Shelf.from_yaml(file) == Shelf.from_yaml(str(file)) == expected


def test_file_and_line_are_named_in_their_order(tmp_path: Path) -> None:
    text = """\
copies: 4x
disk:
  # a comment
  size: 500m
  sise: 1Gi
hosts:
- a
-
  1
volume:
  kind: bucket
labels: {ok: ok,
  bad: "a b"}
"""
    found = refusal_of(tmp_path, text)
    assert [line.partition(" (")[0] for line in found] == [
        "shelf.yaml:1: copies",
        "shelf.yaml:4: disk.size",
        "shelf.yaml:5: disk.sise",
        "shelf.yaml:9: hosts[1]",
        "shelf.yaml:10: volume.bucket is missing",
        "shelf.yaml:13: labels.bad",
    ]


def test_what_cannot_work_together_has_lines_too(tmp_path: Path) -> None:
    assert refusal_of(tmp_path, "on_fire: true\ndisk:\n  size: 1Gi\ncopies: 4\n") == [
        "shelf.yaml:2: disk.node (None) must be named while it burns",
        "shelf.yaml:4: copies (4) must not be above 3 on a disk",
    ]


def test_a_key_that_is_there_twice_is_refused_with_both_lines_and_the_rest(tmp_path: Path) -> None:
    text = "copies: 1\ndisk:\n  size: 1Gi\n  node: a\n  size: 2Gi\nraw: {a: 1, 'a': 2}\ncopies: 10\n"
    assert refusal_of(tmp_path, text) == [
        "shelf.yaml:5: disk.size is there twice, in lines 3 and 5",
        "shelf.yaml:6: raw.a is there twice, in lines 6 and 6",
        "shelf.yaml:7: copies is there twice, in lines 1 and 7",
        "shelf.yaml:7: copies (10) must be at most 9",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("copies: 1\nhosts: [a\ncopies: 2\n", "shelf.yaml:3: is not YAML: "),
        ("copies: 1\n\tdisk: x\n", "shelf.yaml:2: is not YAML: "),
        ("copies: *other\n", "shelf.yaml:1: is not YAML: found undefined alias 'other'"),
        ("copies: 1\n---\ncopies: 2\n", "shelf.yaml:2: is not YAML: but found another document"),
        ("copies: 1\ndisk: !!python/object:os.system {}\n", "shelf.yaml:2: is not YAML: could not determine"),
        ("copies: 1\n? [1]\n: 2\n", "shelf.yaml:2: is not YAML: found unhashable key"),
        ("copies: 1\nhosts: [2024-13-45]\n", "shelf.yaml:2: looks like a number or a date and is none"),
        ("copies: " + "9" * 5000, "shelf.yaml:1: looks like a number or a date and is none"),
        ("raw: &a\n  b: *a\n", "shelf.yaml:1: holds itself through an alias"),
        ("raw: " + "[" * 3000, "shelf.yaml:1: is nested too deeply"),
        ("copies: 1\0", "shelf.yaml:1: is not YAML: "),
        (b"\xff\xfea", "shelf.yaml:1: is not YAML: "),
        ("copies: 1\non: 2\n", "shelf.yaml:2: True (True) must be the name of a field"),
        ("- 1\n", "shelf.yaml:1: must be a mapping of fields, not [1]"),
        ("", "shelf.yaml:1: must be a mapping of fields, not None"),
        (
            "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '0'] * 10)}]" for n in range(9)),
            "shelf.yaml:1: stands for more than 100000 values",
        ),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else "bytes",
)
def test_a_file_that_is_no_such_yaml_is_refused_with_its_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    assert refusal_of(tmp_path, text)[0].startswith(line)


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Shelf.from_yaml(tmp_path / "none.yaml")
