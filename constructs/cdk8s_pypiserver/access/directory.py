"""What a person writes about a directory: servers, entries, filters; what httpd takes for its own is refused."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.problems import Problem

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_HIGHEST_PORT = 65535


def _no_server(value: str) -> str | None:
    if "://" in value:
        return "must be a host without a scheme: `security` says how it is spoken to"
    if value != value.lower():
        return "must be in lower case"
    port = re.search(r":([0-9]+)$", value)
    if port and not 0 < int(port[1]) <= _HIGHEST_PORT:
        return f"must have a port from 1 to {_HIGHEST_PORT}"
    return None


def no_text(value: str) -> str | None:
    """Return what httpd would not take as text."""
    if found := re.search(r'[$%]\{|"', value):
        return f"must not hold {found[0]}, which httpd takes for its own"
    if re.search(r"[\x00-\x1f\x7f]", value):
        return "must be one line"
    return None


def _no_filter(value: str) -> str | None:
    if value.startswith("(") and value.count("(") != value.count(")"):
        return "must have as many ( as )"
    return no_text(value)


def _no_template(value: str) -> str | None:
    if value.count("$1") != 1 or "$" in value.replace("$1", ""):
        return "must have $1 once, for the name of the user, and no other $"
    if "&" in value:
        return "must not hold &, which httpd takes for the whole name"
    return no_text(value)


def groups_twice(
    readers: Sequence[str], publishers: Sequence[str], *, spelt: Callable[[str], str] = str
) -> Iterator[Problem]:
    """Yield groups that are meant already: publishers read, too.

    Args:
        readers: The groups that read.
        publishers: Those that publish.
        spelt: Returns what is the same of two ways to write one group.
    """
    for field, groups in (("readers", readers), ("publishers", publishers)):
        said = [spelt(each) for each in groups]
        for number, group in enumerate(groups):
            first = said.index(said[number])
            if groups[first] != group:
                yield Problem((field, number), group, f"is there twice: {field}[{first}] is the same")
    publish = {spelt(each) for each in publishers}
    for number, group in enumerate(readers):
        if spelt(group) in publish:
            yield Problem(("readers", number), group, "has no effect: publishers has it, and whoever publishes reads")


Server = Annotated[
    str,
    Form(
        rf"{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,4}})?",
        "must be a host in lower case, such as ldap.example.org or ldap.example.org:3269",
        260,
        _no_server,
    ),
]
"""A host, with a port or at the usual one. A name, as it stands in the certificate, or an address of version 4."""

DistinguishedName = Annotated[
    str,
    Form(
        r"[A-Za-z][A-Za-z0-9.-]*=.+",
        "must be a distinguished name such as cn=pypi,ou=groups,dc=example,dc=org",
        1000,
        no_text,
    ),
]
"""The name of an entry (RFC 4514)."""

Attribute = Annotated[str, Form(r"[A-Za-z][A-Za-z0-9-]*", "must be the name of an attribute such as uid", 64)]
"""The name of an attribute."""

UserFilter = Annotated[
    str, Form(r"\(.+\)", "must be a filter such as (objectClass=person) or (&(a=b)(c=d))", 1000, _no_filter)
]
"""A filter (RFC 4515)."""

UserTemplate = Annotated[
    str,
    Form(r".*\$1.*", "must have $1 for the name, such as uid=$1,ou=people,dc=example,dc=org", 1000, _no_template),
]
"""What becomes of a name before a user binds with it."""
