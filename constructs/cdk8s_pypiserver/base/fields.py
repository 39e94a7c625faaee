"""Types of what a person writes into a spec: Kubernetes quantities, names, labels, hosts and images.

What is refused here is what Kubernetes, nginx or a container runtime would refuse later, when nobody is looking.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, get_args

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .problems import NO_VALUE, Problem, SpecError

# The suffixes of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_SUFFIXES = {suffix: Decimal(1024) ** power for power, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_SUFFIXES |= {
    suffix: Decimal(1000) ** power for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_QUANTITY = re.compile(
    r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?:(?P<exponent>[eE][+-]?[0-9]{1,2})|(?P<suffix>[A-Za-z]*))"
)
_LARGEST = 2**63 - 1
"""What Kubernetes, and nginx for sizes, count up to."""
_MOST_CORES = 1000
_LAST_PORT = 65535
_LARGEST_ANNOTATIONS = 256 << 10
"""Keys and values of all annotations of an object (apimachinery, TotalAnnotationSizeLimitB)."""

_OWN_PATHS = {"RPC2", "health", "packages", "ready", "simple", "upstream"}
"""What a registry has itself at its root."""

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_PART}(?:\.{_PART})*"
_QUALIFIED = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_-]*"
_ADDRESS = r"[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*"
# https://github.com/distribution/reference/blob/main/regexp.go
_HOST = r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"
_REGISTRY = rf"{_HOST}(?:\.{_HOST})*(?::[0-9]{{1,5}})?"
_REPOSITORY = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = (
    rf"(?:{_REGISTRY}/)?{_REPOSITORY}(?:/{_REPOSITORY})*"
    r"(?::[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?"
)


@dataclass(frozen=True)
class Form:
    """What the text of a field looks like; stands in `Annotated[str, Form(…)]`.

    Raises:
        ValueError: when a spec is made with another text; the message is the reason.
    """

    pattern: str
    """Regular expression of the whole text, which the JSON schema has too."""
    words: str
    """What to say of a text that does not match: "must be …"."""
    longest: int
    """Characters at most."""
    refusal: Callable[[str], str | None] = lambda _: None
    """Returns what else is wrong with a text, or None; asked first, so it may tell more closely what is wrong."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Have pydantic check the text."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Tell the JSON schema what can be told there."""
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$", "maxLength": self.longest}

    def _checked(self, value: str) -> str:
        reason = self.reason(value)
        if reason:
            raise ValueError(reason)
        return value

    def reason(self, value: str) -> str | None:
        """Return what is wrong with a text, or None."""
        if not value and not re.fullmatch(self.pattern, value):
            return f"must not be empty: it {self.words}"
        if value != value.strip():
            return "must not begin or end with white space"
        if len(value) > self.longest:
            return f"must have at most {self.longest} characters, has {len(value)}"
        return self.refusal(value) or (None if re.fullmatch(self.pattern, value) else self.words)


def refusal(kind: object, value: str) -> str | None:
    """Return what is wrong with a text for a field of a type that is here, such as Image, or None."""
    form: Form = get_args(kind)[1]
    return form.reason(value)


def check_label(key: str, value: str) -> None:
    """Check a label that is added to what is there already.

    Raises:
        ValueError: Kubernetes would refuse it; names key, value and reason.
    """
    if reason := _LABEL_KEY.reason(key) or _no_text(value) or _LABEL_VALUE.reason(value):
        raise ValueError(f"label {key!r} ({value!r}) {reason}")


def check_annotation(key: str, value: str) -> None:
    """Check an annotation that is added to what is there already.

    Raises:
        ValueError: Kubernetes would refuse it; names key, value and reason.
    """
    if reason := _ANNOTATION_KEY.reason(key) or _no_text(value):
        raise ValueError(f"annotation {key!r} ({value!r}) {reason}")


def check_peer(peer: Mapping[str, Any]) -> None:
    """Check a NetworkPolicyPeer that is added to what is there already.

    Raises:
        ValueError: it would let in or out others than are meant; names peer and reason.
    """
    for problem in _problems_of_peer(peer):
        raise ValueError(f"peer {peer!r}: {problem}" if problem.path else f"peer {peer!r} {problem.reason}")


def check_port(port: int | str) -> None:
    """Check a port, by number or by name, that is added to what is there already.

    Raises:
        ValueError: Kubernetes would refuse it; names port and reason.
    """
    if isinstance(port, str):
        reason = _PORT_NAME.reason(port)
    else:
        reason = None if 1 <= port <= _LAST_PORT else f"must be a number from 1 to {_LAST_PORT}"
    if reason:
        raise ValueError(f"port {port!r} {reason}")


def quantity(value: str) -> Decimal:
    """Return a Kubernetes quantity such as `512Mi`, `2`, `100m` or `1e3` as a number (bytes, cores).

    Raises:
        ValueError: the text is not a quantity.
    """
    match = _QUANTITY.fullmatch(value)
    if match is None or (match["suffix"] or "") not in _SUFFIXES:
        raise ValueError("must be a Kubernetes quantity such as 512Mi, 10Gi or 250m")
    return Decimal(match["number"] + (match["exponent"] or "")) * _SUFFIXES[match["suffix"] or ""]


def _bytes(least: str, *, whole: bool = False) -> Form:
    """Return the form of an amount of memory or storage that is at least this one."""
    pattern = rf"{_NUMBER}(?:[KMGTPE]i|[kMGTPE])?"

    def refusal(value: str) -> str | None:
        if re.fullmatch(rf"{_NUMBER}m", value):
            return f"must be bytes, and m is a thousandth of one: is {value[:-1]}Mi meant?"
        if not re.fullmatch(pattern, value):
            return None
        size = quantity(value)
        if size < quantity(least):
            return f"must be at least {least}, is {size.normalize():f} bytes"
        if size > _LARGEST:
            return f"must be at most {_LARGEST} bytes (just below 8Ei), which is as far as is counted"
        if whole and size != size.to_integral_value():
            return "must be a whole number of bytes"
        return None

    return Form(pattern, "must be an amount of bytes such as 512Mi, 10Gi or 2G", 20, refusal)


def _cores(value: str) -> str | None:
    if not re.fullmatch(rf"{_NUMBER}m?", value):
        return None
    cores = quantity(value)
    if cores * 1000 < 1:
        return "must be at least 1m, a thousandth of a core"
    if cores > _MOST_CORES:
        return f"must be at most {_MOST_CORES} cores: 1 is a core, 1m a thousandth of one"
    return None


def _no_host(value: str) -> str | None:
    if not value.isascii():
        return f"must be in ASCII: {_punycode(value)}"
    if value.startswith("*"):
        return "must be one name, not a wildcard"
    if value.endswith("."):
        return "must not end with a dot"
    if re.fullmatch(r"[0-9]+", value.rpartition(".")[2]):
        return "must be a name, not an address"
    return None


def _punycode(value: str) -> str:
    try:
        return f"write {value.encode('idna').decode()}"
    except UnicodeError:
        return "write it as xn--…"


def _own_path(value: str) -> str | None:
    first = f"{value}/".split("/")[1]
    return f"must not begin with /{first}, which the registry itself has" if first in _OWN_PATHS else None


def _no_network(value: str) -> str | None:
    if not re.fullmatch(rf"{_ADDRESS}(?:/[0-9]{{1,3}})?", value):
        return None
    try:
        meant = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return "is no address that there can be"
    address = ipaddress.ip_address(value.partition("/")[0])
    return None if address == meant.network_address else f"has bits beyond its mask: is {meant} meant?"


def _qualified(what: str) -> Form:
    pattern = rf"(?:{_SUBDOMAIN}/)?{_QUALIFIED}"
    words = f"must be {what} such as team or example.org/team: letters, digits, - _ and . (63 at most after the /)"
    return Form(pattern, words, 253 + 1 + 63)


def _no_text(value: object) -> str | None:
    return None if isinstance(value, str) else "must be text"


def _known_peer(peer: Mapping[str, Any]) -> Mapping[str, Any]:
    if problems := [*_problems_of_peer(peer)]:
        raise SpecError("NetworkPolicyPeer", problems)
    return peer


def _problems_of_peer(peer: Mapping[str, Any]) -> Iterator[Problem]:
    # An empty one, or one with a slip of the pen, would let in others than were meant.
    if not peer or not peer.keys() <= {"podSelector", "namespaceSelector", "ipBlock"}:
        yield Problem((), peer, "must have podSelector, namespaceSelector or both, or ipBlock")
    elif "ipBlock" not in peer:
        for field, selector in peer.items():
            yield from (problem.within((field,)) for problem in _problems_of_selector(selector))
    elif len(peer) > 1:
        yield Problem((), peer, "must have nothing beside ipBlock")
    else:
        yield from (problem.within(("ipBlock",)) for problem in _problems_of_block(peer["ipBlock"]))


def _problems_of_selector(selector: object) -> Iterator[Problem]:
    # Of what is left out, or is a slip of the pen, some clients make a selector of whoever there is.
    if not isinstance(selector, Mapping):
        yield Problem((), selector, "must be a mapping; {} is whoever there is")
        return
    for field, value in selector.items():
        if field == "matchLabels":
            yield from (problem.within((field,)) for problem in _problems_of_labels(value))
        elif field != "matchExpressions":
            yield Problem((str(field),), value, "is no field here; there are matchLabels, matchExpressions")
        elif isinstance(value, str) or not isinstance(value, Sequence):
            yield Problem((field,), value, "must be a list, even of one entry")
        else:
            for index, expression in enumerate(value):
                yield from (problem.within((field, index)) for problem in _problems_of_expression(expression))


def _problems_of_labels(labels: object) -> Iterator[Problem]:
    if not isinstance(labels, Mapping):
        yield Problem((), labels, "must be a mapping")
        return
    for key, value in labels.items():
        if reason := _no_text(key) or _LABEL_KEY.reason(key):
            yield Problem((str(key),), value, f"has no such key: it {reason}")
        elif reason := _no_text(value) or _LABEL_VALUE.reason(value):
            yield Problem((key,), value, reason)


def _problems_of_expression(expression: object) -> Iterator[Problem]:
    if not isinstance(expression, Mapping):
        yield Problem((), expression, "must be a mapping")
        return
    for field in expression.keys() - {"key", "operator", "values"}:
        yield Problem((str(field),), expression[field], "is no field here; there are key, operator, values")
    key: Any = expression.get("key")
    operator, values = expression.get("operator"), expression.get("values")
    if reason := _no_text(key) or _LABEL_KEY.reason(key):
        yield Problem(("key",), key, reason)
    if operator in ("Exists", "DoesNotExist"):
        if values:
            yield Problem(("values",), values, f"must be left out with the operator {operator}")
    elif operator not in ("In", "NotIn"):
        yield Problem(("operator",), operator, "must be In, NotIn, Exists or DoesNotExist")
    elif isinstance(values, str) or not isinstance(values, Sequence) or not values:
        yield Problem(("values",), values, "must be a list, of one entry at least")
    else:
        for index, value in enumerate(values):
            if reason := _no_text(value) or _LABEL_VALUE.reason(value):
                yield Problem(("values", index), value, reason)


def _problems_of_block(block: object) -> Iterator[Problem]:
    if not isinstance(block, Mapping):
        yield Problem((), block, "must be a mapping of cidr and except")
        return
    for field, value in block.items():
        if field not in ("cidr", "except"):
            yield Problem((str(field),), value, "is no field here; there are cidr, except")
    cidr: Any = block.get("cidr")
    parts: Any = block.get("except") or ()
    if "cidr" not in block:
        yield Problem(("cidr",), NO_VALUE, "is missing")
        return
    if reason := _no_text(cidr) or refusal(Network, cidr):
        yield Problem(("cidr",), cidr, reason)
        return
    if isinstance(parts, str) or not isinstance(parts, Sequence):
        yield Problem(("except",), parts, "must be a list, even of one entry")
        return
    for index, part in enumerate(parts):
        reason = _no_text(part) or refusal(Network, part)
        if reason or not _is_part(part, cidr):
            yield Problem(("except", index), part, reason or f"must be a part of cidr ({cidr})")


def _is_part(one: str, other: str) -> bool:
    """Return whether a network is a part of another one, and not all of it."""
    part, whole = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return part.version == whole.version and part.prefixlen > whole.prefixlen and part.network_address in whole


def _small_enough(annotations: Mapping[str, str]) -> Mapping[str, str]:
    size = sum(len(part.encode(errors="replace")) for item in annotations.items() for part in item)
    if size > _LARGEST_ANNOTATIONS:
        raise ValueError(f"must take at most {_LARGEST_ANNOTATIONS} bytes, takes {size}")
    return annotations


Bytes = Annotated[str, _bytes("1Mi")]
"""An amount of memory or storage as a Kubernetes quantity, 1Mi or more: whoever writes 512 forgot the unit."""

UploadSize = Annotated[str, _bytes("1Ki", whole=True)]
"""A size of uploads as a Kubernetes quantity: a whole number of bytes that nginx can count."""

Cpu = Annotated[str, Form(rf"{_NUMBER}m?", "must be cores such as 2, 0.5 or 250m", 12, _cores)]
"""CPU as a Kubernetes quantity."""

Host = Annotated[
    str,
    Form(
        rf"{_LABEL}(?:\.{_LABEL})+",
        "must be a full DNS name in lower case without scheme, port or path, such as pypi.example.org",
        253,
        _no_host,
    ),
]
"""A full DNS name, in lower case."""

Label = Annotated[
    str, Form(_LABEL, "must be a name of lower-case letters, digits and -, with a letter or digit at both ends", 63)
]
"""An RFC 1123 label: what names of namespaces look like."""

Name = Annotated[
    str,
    Form(_SUBDOMAIN, "must be a name of lower-case letters, digits, - and ., with a letter or digit at both ends", 253),
]
"""An RFC 1123 subdomain: what most object names look like."""

Image = Annotated[
    str,
    Form(_IMAGE, "must be an image such as registry.example.org:5000/team/name:tag or name@sha256:… (64 digits)", 512),
]
"""A reference of a container image."""

MIRROR: Final = (
    rf"(?:localhost|{_HOST}(?:\.{_HOST})+|(?:{_HOST}(?:\.{_HOST})*|\[[0-9A-Fa-f:]+\]):[0-9]{{1,5}})(?:/{_REPOSITORY})*"
)
"""Regular expression of what can be before the full name of an image: a registry, and perhaps a path in it.

One without a dot and a port would be a path on Docker Hub.
"""

VariableName = Annotated[
    str, Form(r"[-._a-zA-Z][-._a-zA-Z0-9]*", "must be letters, digits, -, _ and ., with no digit first", 1000)
]
"""A name of a variable of the environment, as every minor takes it."""

_LABEL_KEY = _qualified("a label key")
LabelKey = Annotated[str, _LABEL_KEY]
"""A key of a label."""

_LABEL_VALUE = Form(rf"(?:{_QUALIFIED})?", "must be letters, digits, - _ and . with a letter or digit at both ends", 63)
LabelValue = Annotated[str, _LABEL_VALUE]
"""A value of a label; may be empty."""

QualifiedName = Annotated[str, _qualified("a name")]
"""A name that may have a domain in front, such as a class of load balancers."""

Network = Annotated[
    str,
    Form(rf"{_ADDRESS}/[0-9]{{1,3}}", "must be a network (CIDR) such as 10.0.0.0/8 or fd00::/8", 64, _no_network),
]
"""A network, as CIDR."""

Address = Annotated[
    str,
    Form(
        rf"{_ADDRESS}(?:/[0-9]{{1,3}})?",
        "must be an address or a network (CIDR) such as 192.0.2.1 or fd00::/8",
        64,
        _no_network,
    ),
]
"""An address of IPv4 or IPv6, or a network as CIDR."""

IPAddress = Annotated[str, Form(_ADDRESS, "must be an address such as 192.0.2.1 or 2001:db8::1", 45, _no_network)]
"""An address of IPv4 or IPv6."""

PathPrefix = Annotated[
    str,
    Form(
        rf"/|(?:/{_SEGMENT})+",
        "must be / or a path such as /pypi or /team-a/pypi: letters, digits, - and _, no / at the end",
        200,
        _own_path,
    ),
]
"""A path below which a registry is reached: nothing in it can be spelt in two ways."""

Argument = Annotated[
    str, Form(r"[^\x00-\x20](?:[^\x00-\x1f]*[^\x00-\x20])?", "must be one argument of a program", 1000)
]
"""An argument of a program."""

_ANNOTATION_KEY = _qualified("an annotation key")
AnnotationKey = Annotated[str, _ANNOTATION_KEY]
"""A key of an annotation."""

Peer = Annotated[Mapping[str, Any], AfterValidator(_known_peer)]
"""A NetworkPolicyPeer in plain fields."""

PodCount = (
    Annotated[int, Field(ge=0, le=1000)]
    | Annotated[str, Form(r"(?:100|[1-9]?[0-9])%", "must be a percentage such as 50%", 4)]
)
"""A number of pods, or a percentage of all there are."""

Port = Annotated[int, Field(ge=1, le=_LAST_PORT)]
"""A TCP port."""

_PORT_NAME = Form(
    r"(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*",
    "must be a name of lower-case letters, digits and single -, with a letter in it",
    15,
)

UserId = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A user or group other than root, as far as Kubernetes counts them."""

Labels = Mapping[LabelKey, LabelValue]
"""Labels of an object."""

Annotations = Annotated[Mapping[AnnotationKey, str], AfterValidator(_small_enough)]
"""Annotations of an object."""

Hosts = Annotated[Sequence[Host], Field(min_length=1)]
"""DNS names, at least one."""
