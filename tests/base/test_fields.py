"""Types of fields: what Kubernetes takes is taken, and what it refuses is refused with a reason."""

import contextlib
import time
from typing import Any, cast

import cdk8s
import pytest
from pydantic import TypeAdapter, ValidationError

from cdk8s_pypiserver import PyPIServerChart
from cdk8s_pypiserver.base import fields
from cdk8s_pypiserver.base.identity import Identity, Labelled
from cdk8s_pypiserver.pod.template import Pod

DIGEST = "@sha256:" + "0" * 64

TAKEN: dict[str, tuple[Any, list[Any]]] = {
    "bytes": (fields.Bytes, ["1Mi", "1.5Gi", "0.1Gi", "1048576", "20G", "7Ei"]),
    "size of uploads": (fields.UploadSize, ["1Ki", "1.5Gi", "1073741824", "7Ei", str(2**63 - 1)]),
    "cpu": (fields.Cpu, ["1m", "0.001", "0.5", "2", "1000"]),
    "host": (fields.Host, ["a.b", "xn--bcher-kva.example", "pypi.10.example.org", "a" * 63 + ".org"]),
    "label": (fields.Label, ["a", "4711-pypi", "a" * 63]),
    "name": (fields.Name, ["a", "a.b-c.d", "a" * 253]),
    "image": (
        fields.Image,
        [
            "nginx",
            "library/nginx:1.30",
            "docker.io/nginxinc/nginx-unprivileged:1.30-alpine",
            "localhost:5000/a__b/c-d.e:TAG_1.2-x",
            "Registry.example.org/a" + DIGEST,
            "a:1" + DIGEST,
        ],
    ),
    "label key": (fields.LabelKey, ["team", "example.org/Team_1.x", "a" * 253 + "/" + "b" * 63]),
    "label value": (fields.LabelValue, ["", "a", "A_b.c-1", "a" * 63]),
    "annotation key": (fields.AnnotationKey, ["nginx.ingress.kubernetes.io/proxy-body-size"]),
    "network": (fields.Network, ["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::/0", "192.0.2.1/32"]),
    "address": (fields.Address, ["192.0.2.1", "2001:db8::1", "10.0.0.0/8", "FD00::/8", "2001:0db8:0::/32"]),
    "IP address": (fields.IPAddress, ["192.0.2.1", "2001:db8::1"]),
    "path prefix": (fields.PathPrefix, ["/", "/pypi", "/team-a/pypi", "/A_b/0", "/simple-index"]),
    "argument": (fields.Argument, ["--keep-alive", "5", "a b", "ü"]),
    "qualified name": (fields.QualifiedName, ["internal", "example.org/internal"]),
    "variable": (fields.VariableName, ["A_1", ".a-b"]),
    "port": (fields.Port, [1, 65535]),
    "user": (fields.UserId, [1, 2**31 - 1]),
}

REFUSED: dict[str, tuple[Any, dict[Any, str]]] = {
    "path prefix": (
        fields.PathPrefix,
        {
            "": "must not be empty: it must be / or a path such as /pypi",
            **dict.fromkeys(
                ["pypi", "/pypi/", "//", "/a//b", "/-/auth", "/a.b", "/a%20b", "/ä", "/a?b", "/a;b", "/a$b"],
                "must be / or a path such as /pypi",
            ),
            "/simple": "must not begin with /simple, which the registry itself has",
            "/health/x": "must not begin with /health, which the registry itself has",
        },
    ),
    "bytes": (
        fields.Bytes,
        {
            "": "must not be empty: it must be an amount of bytes such as 512Mi",
            " 1Gi": "must not begin or end with white space",
            "1Gi\n": "must not begin or end with white space",
            "1Gi\0": "must be an amount of bytes",
            "10 GB": "must be an amount of bytes",
            "10GB": "must be an amount of bytes",
            "-1Gi": "must be an amount of bytes",
            "1e9": "must be an amount of bytes",
            "1,5Gi": "must be an amount of bytes",
            "٥١٢Mi": "must be an amount of bytes",  # noqa: RUF001 - Arabic digits
            "5１2Mi": "must be an amount of bytes",  # noqa: RUF001 - a wide digit
            "512m": "must be bytes, and m is a thousandth of one: is 512Mi meant?",
            "0": "must be at least 1Mi, is 0 bytes",
            "0.5": "must be at least 1Mi, is 0.5 bytes",
            "512": "must be at least 1Mi, is 512 bytes",
            "8Ei": "must be at most 9223372036854775807 bytes",
            "9Ei": "must be at most 9223372036854775807 bytes",
            "9" * 21: "must have at most 20 characters, has 21",
        },
    ),
    "size of uploads": (
        fields.UploadSize,
        {
            "500m": "is 500Mi meant?",
            "0": "must be at least 1Ki",
            "0.5": "must be at least 1Ki, is 0.5 bytes",
            "1.1Ki": "must be a whole number of bytes",
            "9Ei": "must be at most 9223372036854775807 bytes",
            str(2**63): "must be at most 9223372036854775807 bytes",
        },
    ),
    "cpu": (
        fields.Cpu,
        {
            "": "must not be empty: it must be cores",
            "100Mi": "must be cores such as 2, 0.5 or 250m",
            "1k": "must be cores",
            "٢": "must be cores",
            "0": "must be at least 1m",
            "0.1m": "must be at least 1m",
            "0m": "must be at least 1m",
            "1001": "must be at most 1000 cores: 1 is a core, 1m a thousandth of one",
        },
    ),
    "host": (
        fields.Host,
        {
            "": "must not be empty: it must be a full DNS name",
            "pypi": "must be a full DNS name",
            "https://a.b/": "without scheme, port or path",
            "a.b:80": "without scheme, port or path",
            "A.b": "in lower case",
            "a..b": "must be a full DNS name",
            "-a.b": "must be a full DNS name",
            "a.b\n": "white space",
            "a.b.": "must not end with a dot",
            "10.0.0.1": "must be a name, not an address",
            "a.1": "must be a name, not an address",
            "::1": "must be a full DNS name",
            "*.example.org": "must be one name, not a wildcard",
            "bücher.example": "must be in ASCII: write xn--bcher-kva.example",
            "a" * 64 + ".org": "must be a full DNS name",
            ".".join(["a" * 63] * 4): "must have at most 253 characters, has 255",
        },
    ),
    "label": (
        fields.Label,
        {
            "A": "must be a name of lower-case letters, digits and -",
            "a.b": "must be a name of lower-case",
            "a-": "must be a name of lower-case",
            "é": "must be a name of lower-case",
            "a٣": "must be a name of lower-case",
            "a" * 64: "must have at most 63 characters, has 64",
        },
    ),
    "name": (
        fields.Name,
        {"My_Secret": "must be a name of lower-case", "a..b": "must be a name", "a/b": "must be a name"},
    ),
    "image": (
        fields.Image,
        {
            "": "must not be empty: it must be an image",
            "https://example.org/a": "must be an image such as",
            "docker.io/Upper/case": "must be an image such as",
            "a:": "must be an image such as",
            ":1": "must be an image such as",
            "a:1:2": "must be an image such as",
            "a@sha256:123": "must be an image such as",
            "a:" + "t" * 129: "must be an image such as",
            "a b": "must be an image such as",
            "a//b": "must be an image such as",
            "a/b/": "must be an image such as",
            "a\n": "white space",
            "a" * 513: "must have at most 512 characters",
        },
    ),
    "label key": (
        fields.LabelKey,
        {
            "": "must not be empty: it must be a label key",
            "a b": "must be a label key such as team or example.org/team",
            "/a": "must be a label key",
            "a/": "must be a label key",
            "a/b/c": "must be a label key",
            "-a": "must be a label key",
            "a" * 64: "must be a label key",
            "Example.org/a": "must be a label key",
        },
    ),
    "label value": (
        fields.LabelValue,
        {"a b": "must be letters, digits", "-a": "must be letters", "ü": "must be letters", "a" * 64: "at most 63"},
    ),
    "annotation key": (fields.AnnotationKey, {"a b": "must be an annotation key", "a//b": "must be an annotation key"}),
    "network": (
        fields.Network,
        {
            "": "must not be empty",
            "10.0.0.1/8": "has bits beyond its mask: is 10.0.0.0/8 meant?",
            "10.0.0.1": "must be a network (CIDR)",
            "10.0.0.0/33": "is no address that there can be",
            "256.0.0.0/8": "is no address that there can be",
            "10.0.0.0/255.0.0.0": "must be a network (CIDR)",
            "fd00::1/8": "is fd00::/8 meant?",
            "10.0.0.0/٨": "must be a network",
        },
    ),
    "address": (
        fields.Address,
        {
            "proxy.example.org": "must be an address or a network",
            "10": "must be an address or a network",
            "192.0.2.1:80": "is no address",
            "fe80::1%eth0": "must be an address",
            "10.0.0.1 10.0.0.2": "must be an address",
            "10.0.0.1;": "must be an address",
        },
    ),
    "IP address": (
        fields.IPAddress,
        {"10.0.0.0/8": "must be an address", "300.0.0.1": "is no address"},
    ),
    "argument": (fields.Argument, {"": "must not be empty", "a\nb": "must be one argument", "a ": "white space"}),
    "qualified name": (fields.QualifiedName, {"a b": "must be a name such as", "/": "must be a name such as"}),
    "variable": (fields.VariableName, {"a=b": "must be letters", "1A": "no digit first", "": "must not be empty"}),
    "port": (fields.Port, {0: "", 65536: "", -1: "", "80": "", 80.0: "", True: ""}),
    "user": (fields.UserId, {0: "", -1: "", 2**31: "", "9898": ""}),
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, (_, values) in TAKEN.items() for value in values])
def test_what_kubernetes_takes_is_taken_as_it_is(kind: str, value: object) -> None:
    assert TypeAdapter(TAKEN[kind][0]).validate_python(value, strict=True) == value


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, (_, values) in REFUSED.items() for value in values], ids=ascii
)
def test_what_cannot_work_is_refused_with_a_reason(kind: str, value: object) -> None:
    type_, values = REFUSED[kind]
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(type_).validate_python(value, strict=True)
    assert values[value] in str(refused.value)


def test_every_type_is_tried() -> None:
    annotated = {name for name, value in vars(fields).items() if getattr(value, "__metadata__", None)}
    # Of other types, and so tried with the fields that have them.
    written = annotated - {"Annotations", "Hosts", "Peer"}
    tried = {name for name in written for type_, _ in REFUSED.values() if getattr(fields, name) is type_}
    assert tried == written
    assert TAKEN.keys() == REFUSED.keys()


@pytest.mark.parametrize("kind", [kind for kind, (_, values) in TAKEN.items() if isinstance(values[-1], str)])
def test_the_json_schema_has_the_pattern(kind: str) -> None:
    import jsonschema  # noqa: PLC0415

    schema = TypeAdapter(TAKEN[kind][0]).json_schema()
    for value in TAKEN[kind][1]:
        jsonschema.validate(value, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(" not this ", schema)


def test_a_hostile_text_takes_no_time() -> None:
    texts = [part * 250 for part in ("a", "a-", "a.", "a_", "a/", "0.", "-", "a__", "a/a-", ":", "1:")]
    started = time.process_time()
    for type_, _ in TAKEN.values():
        for text in texts:
            with contextlib.suppress(ValidationError):
                TypeAdapter(type_).validate_python(text + "!")
    assert time.process_time() - started < 2


def test_an_amount_is_a_number() -> None:
    assert fields.quantity("1.5Gi") == 3 * 2**29
    assert fields.quantity("2") == 2
    assert fields.quantity("250m") * 4 == 1
    assert fields.quantity("1e3") == fields.quantity("1E+3") == fields.quantity("1k") == 1000
    assert fields.quantity(".5E") == fields.quantity("5e17")
    assert fields.quantity("1000000n") == fields.quantity("1000u") == fields.quantity("1.m")
    with pytest.raises(ValueError, match="must be a Kubernetes quantity"):
        fields.quantity("10 GB")
    with pytest.raises(ValueError, match="must be a Kubernetes quantity"):
        fields.quantity("1e3Ki")


def test_annotations_have_a_size() -> None:
    annotations: TypeAdapter[Any] = TypeAdapter(fields.Annotations)
    assert annotations.validate_python({"a": "b" * (2**18 - 1)})
    with pytest.raises(ValidationError, match="must take at most 262144 bytes, takes 262145"):
        annotations.validate_python({"a": "ü" * (2**17 - 1), "b": "c"})


def test_labels_and_annotations_that_are_added_later_are_checked_too() -> None:
    deployment = PyPIServerChart(cdk8s.App(), "chart").registry.deployment
    sockets: tuple[Labelled, ...] = (Identity("a"), Pod(Identity("a"), default_container="a"), deployment)
    for each in sockets:
        each.add_label("example.org/team", "a")
        with pytest.raises(ValueError, match=r"label 'a b' \('c'\) must be a label key such as team"):
            each.add_label("a b", "c")
        with pytest.raises(ValueError, match=r"label 'a' \('c d'\) must be letters, digits"):
            each.add_label("a", "c d")
        with pytest.raises(ValueError, match=r"label 'a' \(5\) must be text"):
            each.add_label("a", cast("str", 5))
    for each in sockets:
        each.add_annotation("example.org/on-call", "anybody at all")
        with pytest.raises(ValueError, match=r"annotation 'a b' \('c'\) must be an annotation key such as team"):
            each.add_annotation("a b", "c")
        with pytest.raises(ValueError, match=r"annotation 'example.org/x' \(5\) must be text"):
            each.add_annotation("example.org/x", cast("str", 5))
