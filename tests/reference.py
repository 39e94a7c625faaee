"""docs/reference.md, of what the code says: `reference.py FILE` writes the page there."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import griffe

from cdk8s_pypiserver import PyPIServerSpec, Spec, exports
from cdk8s_pypiserver.pod.gateway import PLACES
from cdk8s_pypiserver.pod.gateway import _variables_read as gateway_variables
from manifests import ROOT
from plain_words import default, either, escaped, is_list, is_spec, link, specs_in, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic.fields import FieldInfo

_SOURCES = ROOT / "constructs"
_SETTINGS = _SOURCES / "cdk8s_pypiserver" / "runtime" / "server" / "pod" / "settings.py"
_WIDTH = 120
_MOST_PLACES = 4
_LONGEST_CODE = 60
"""Characters of code that stay on one line: at the beginning of another, stars in it would be marks of a list."""
_SOCKETS = {
    "registry": ["registry.PyPIServer", "sockets.Sockets"],
    "registry.pod": ["pod.template.Pod"],
    "registry.server": ["pod.server.Server"],
    "registry.gateway": ["pod.gateway.Gateway"],
    "registry.network": ["access.network.Network"],
    "registry.monitoring": ["monitoring.socket.MonitoringSocket"],
}
"""The classes of each socket, the one that users know first."""
_GIVEN = ["access.network.Way", "monitoring.socket.Alert", "monitoring.socket.Panel"]
"""What some methods of the sockets are given."""
_WRITERS = [
    "registry.PyPIServerChart",
    "registry.VolumeChart",
    "base.namespace.NamespaceChart",
    "kustomize.app.KustomizeApp",
]
_BEGINNING = """\
# Reference

Every field of a spec, and every method of a registry's sockets. `make reference` writes this page from the code.

- [Fields](#fields): what a registry can be told, in Python and in a YAML file by the same names.
- [Sockets](#sockets): what can be added to a registry in Python until synth.
- [Charts and the app](#charts-and-the-app): what writes a registry's objects.

## Fields

A registry is a `PyPIServerSpec`, and every other spec below stands in one of its fields: `gateway.max_upload` is the
field `max_upload` of the [GatewaySpec](#gatewayspec) in the field `gateway`. Behind the name of a field is what it
takes, and what it is if it is left out. `None`, `True` and `False` are `null`, `true` and `false` in YAML.

`python -m cdk8s_pypiserver schema > registry.schema.json` writes a JSON schema of such YAML files. With the line
`# yaml-language-server: $schema=registry.schema.json` on top of the file, editors complete its fields, show what they
mean and mark most mistakes. What is right field by field and cannot work together is refused at synth alone.
"""
_SOCKETS_BEGIN = """\
## Sockets

A registry stays open until synth. What takes a container or a volume takes it as `k8s.Container` or `k8s.Volume` of
cdk8s-plus, or as a mapping of Kubernetes' own fields.
"""


class Fields:
    """The specs and their fields.

    Attributes:
        specs: All public specs, a registry's first and then in the order in which its fields name them.
    """

    def __init__(self) -> None:
        public = [each for name in exports.__all__ if is_spec(each := getattr(exports, name)) and each is not Spec]
        self._places: dict[type[Spec], list[str]] = {}
        self._visit(PyPIServerSpec, "")
        first = [each for each in self._places if each in public]
        # What others are made of, and what is no part of a registry.
        self.specs = [*first, *(each for each in public if each not in first and each.model_fields)]

    def lines(self) -> Iterator[str]:
        """Yield the lines of all specs."""
        for spec in self.specs:
            yield from self._spec(spec)

    def _visit(self, spec: type[Spec], place: str) -> None:
        places = self._places.setdefault(spec, [])
        if place:
            places.append(place)
        for name, annotation in _annotations(spec).items():
            for inner in specs_in(annotation):
                self._visit(inner, f"{place}.{name}".lstrip(".") + ("[…]" if is_list(annotation) else ""))

    def _spec(self, spec: type[Spec]) -> Iterator[str]:
        yield from ("", f"### {spec.__name__}", "")
        yield from _paragraphs(inspect.getdoc(spec) or "")
        bases = [base for base in spec.__mro__[1:] if base in self.specs]
        places = self._places.get(spec, [])
        said = []
        if places and len(places) <= _MOST_PLACES:
            said.append(f"In a registry's spec it is {either([f'`{each}`' for each in places], 'and')}.")
        if bases:
            said.append(f"It has the fields of {link(bases[0])} too.")
        if said:
            yield from ("", *_wrapped(" ".join(said)))
        yield ""
        inherited = {name for base in bases for name in _annotations(base)}
        changed = inspect.get_annotations(spec)
        for name, annotation in _annotations(spec).items():
            if name not in inherited or name in changed:
                yield from self._field(name, annotation, spec.model_fields[name])

    def _field(self, name: str, annotation: object, field: FieldInfo) -> Iterator[str]:
        yield from _wrapped(f"**`{name}`** ({words(annotation)}{default(annotation, field)}):", "- ", "  ")
        yield from _wrapped(escaped(field.description or ""), "  ", "  ")


class Sockets:
    """The sockets and what is about them, read from the source and not from the classes."""

    def __init__(self) -> None:
        self._package = griffe.load("cdk8s_pypiserver", search_paths=[_SOURCES], docstring_parser="google")

    def lines(self) -> Iterator[str]:
        """Yield the lines of all sockets."""
        for socket, names in _SOCKETS.items():
            yield from ("", f"### {socket}", "")
            classes = [self._class(name) for name in names]
            yield from _wrapped(escaped(_text(classes[0])))
            yield ""
            yield from self._parts(*classes)
            yield from ("", "Methods:", "")
            for known in classes:
                yield from self._methods(known)
            if socket in _MORE:
                yield from _MORE[socket](self)
        for name in _GIVEN:
            yield from self._dataclass(self._class(name))

    def writers(self) -> Iterator[str]:
        """Yield the lines of charts and app."""
        for name in _WRITERS:
            known = self._class(name)
            yield from ("", f"### {known.name}", "")
            yield from _paragraphs(_text(known))
            yield ""
            yield from self._method(known["__init__"], known.name)
            yield from self._methods(known)
            yield from self._parts(known)

    def _class(self, name: str) -> griffe.Class:
        found = self._package[name]
        assert isinstance(found, griffe.Class)
        return found

    def _parts(self, *classes: griffe.Class) -> Iterator[str]:
        """Yield what can be read of a construct."""
        found = [(each.name, each.description) for known in classes for each in _section(known, "attributes")]
        found += [
            (member.name, member.docstring.value)
            for known in classes
            for member in known.members.values()
            if "property" in member.labels and not member.name.startswith("_") and member.docstring
        ]
        if found:
            yield from ("", "Attributes:", "")
        for name, text in found:
            yield from _item(f"`{name}`", text)

    def _methods(self, known: griffe.Class) -> Iterator[str]:
        for member in known.members.values():
            if isinstance(member, griffe.Function) and not member.name.startswith("_"):
                yield from self._method(member, member.name)

    def _method(self, method: griffe.Function, name: str) -> Iterator[str]:
        shown = method.signature(name=name, return_type=False)
        yield from _item(f"`{shown}`", _text(method))
        for section in ("parameters", "raises"):
            for each in _section(method, section):
                called = f"`{each.name}`" if section == "parameters" else f"Raises `{each.annotation}`"
                yield from _wrapped(f"{called}: {escaped(each.description)}", "  - ", "    ")

    def places(self) -> Iterator[str]:
        """Yield what the gateway's methods take."""
        yield from ("", "The places of `add_file`:", "", "| place | where that is |", "|---|---|")
        yield from (f"| `{place}` | {where} |" for place, where in PLACES.items())
        known = either([f"`{variable}`" for variable in sorted(gateway_variables())], "and")
        yield from ("", *_wrapped(f"The variables that `set` knows, most of which the spec and concerns set: {known}."))

    def variables(self) -> Iterator[str]:
        """Yield the variables that the server reads."""
        settings = griffe.visit("settings", filepath=_SETTINGS, code=_SETTINGS.read_text("utf-8"))
        yield from ("", "The variables that `set` knows, most of which the spec and concerns set:", "")
        for name, attribute in settings["Settings"].attributes.items():
            if attribute.docstring and "property" not in attribute.labels:
                value = _literal(attribute.value)
                shown = f"`{name.upper()}`**" + (f" (by default `{value}`)" if value else "")
                yield from _wrapped(f"**{shown}: {escaped(attribute.docstring.value)}", "- ", "  ")

    def peers(self) -> Iterator[str]:
        """Yield what a peer of the network is."""
        yield from ("", *_wrapped(f"`Peer`: {escaped(self._package['access.network.Peer'].docstring.value)}"))

    def _dataclass(self, known: griffe.Class) -> Iterator[str]:
        yield from ("", f"### {known.name}", "")
        yield from _paragraphs(_text(known))
        yield ""
        for attribute in known.members.values():
            if isinstance(attribute, griffe.Attribute) and attribute.docstring:
                value = _literal(attribute.value)
                shown = f"{attribute.name}: {attribute.annotation}" + (f" = {value!r}" if value else "")
                yield from _item(f"`{shown}`", attribute.docstring.value)


_MORE: Mapping[str, Callable[[Sockets], Iterable[str]]] = {
    "registry.server": Sockets.variables,
    "registry.gateway": Sockets.places,
    "registry.network": Sockets.peers,
}
"""What there is to say of a socket besides its methods."""


def _annotations(spec: type[Spec]) -> dict[str, Any]:
    """Return the types of a spec's fields with all that is said of them."""
    hints = get_type_hints(spec, include_extras=True)
    return {name: hints[name] for name in spec.model_fields}


def _literal(value: object) -> str | float | None:
    """Return a number or a text that the source has as a default."""
    try:
        found = ast.literal_eval(str(value))
    except (SyntaxError, ValueError):
        return None
    return found if isinstance(found, (str, int, float)) and not isinstance(found, bool) else None


def _section(of: griffe.Object, kind: str) -> list[Any]:
    parsed = of.docstring.parsed if of.docstring else []
    return [each for section in parsed if section.kind.value == kind for each in section.value]


def _text(of: griffe.Object) -> str:
    parsed = of.docstring.parsed if of.docstring else []
    return "\n\n".join(section.value for section in parsed if section.kind is griffe.DocstringSectionKind.text)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ""
        yield from _wrapped(escaped(paragraph))


def _item(called: str, text: str) -> Iterator[str]:
    yield from _wrapped(f"**{called}**: {escaped(text)}", "- ", "  ")


def _wrapped(text: str, first: str = "", others: str = "") -> Iterator[str]:
    whole = re.sub(r"`[^`]*`", _kept_together, " ".join(text.split()))
    lines = textwrap.wrap(
        whole,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for number, line in enumerate(each.replace("\0", " ") for each in lines):
        # A line must not begin what the text does not.
        yield re.sub(r"^( *)([-+#>]|\d+[.)])(?= )", r"\1\\\2", line) if number else line


def _kept_together(code: re.Match[str]) -> str:
    return code[0].replace(" ", "\0") if len(code[0]) <= _LONGEST_CODE else code[0]


def text() -> str:
    """Return the page."""
    sockets = Sockets()
    lines = [*_BEGINNING.splitlines(), *Fields().lines(), "", *_SOCKETS_BEGIN.splitlines(), *sockets.lines(), ""]
    lines += ["## Charts and the app", *sockets.writers()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), "utf-8")
