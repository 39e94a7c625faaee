"""Addresses of indexes, of the hosts of their files, and of a proxy on the way to them."""

import ipaddress
import re
from typing import Annotated

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.places import PARTS

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])"
_PORT = r":[1-9][0-9]{0,4}"
_PATH = r"(?:/[A-Za-z0-9._~+@-]+)*/?"
_HIGHEST_PORT = 65535


def _no_place(value: str) -> str | None:
    """Return what of host and port there cannot be."""
    parts = PARTS.fullmatch(value)
    if parts is None:
        return None
    if parts["port"] and not 0 < int(parts["port"]) <= _HIGHEST_PORT:
        return f"must have a port from 1 to {_HIGHEST_PORT}"
    host = parts["host"]
    # What ends in digits is read as an address, however it is written.
    if host.startswith("[") or re.search(r"(?:^|\.)[0-9]+$", host):
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return f"has an address that there cannot be ({host})"
    if host != host.lower():
        return "must have the host in lower case"
    return None


def _no_url(value: str) -> str | None:
    if "@" in value.partition("://")[2].partition("/")[0]:
        return "must hold no credentials, which whoever reads the manifests would know"
    if "?" in value or "#" in value:
        return "must have no query and no fragment"
    if re.search(r"/\.{1,2}(?:/|$)", value):
        return "must not have . or .. as a part"
    return _no_place(value)


def _no_issuer(value: str) -> str | None:
    if value.startswith("http://"):
        return "must begin with https://: who is on the way could put keys of their own in the place of the issuer's"
    return _no_url(value)


def _no_file_host(value: str) -> str | None:
    if "://" in value or "/" in value:
        return "must be a host without scheme and path, such as files.example.org or files.example.org:8443"
    if "*" in value:
        return "must be one host, not a wildcard"
    if "@" in value:
        return "must hold no credentials"
    return _no_place(value)


def _no_proxy(value: str) -> str | None:
    if value.startswith("https://"):
        return "must begin with http://: the proxy is spoken to in the clear, and what goes through it is not"
    return _no_url(value)


IndexUrl = Annotated[
    str,
    Form(
        rf"https?://{_HOST}(?:{_PORT})?{_PATH}",
        "must be the address of an index, such as https://index.example.org/simple/",
        500,
        _no_url,
    ),
]
"""Address of an index: what stands before `<project>/`."""

ServiceUrl = Annotated[
    str,
    Form(
        rf"https?://{_HOST}(?:{_PORT})?{_PATH}",
        "must be the address of a service, such as https://auth.example.org/verify",
        500,
        _no_url,
    ),
]
"""Address of what is no index, such as a service that judges credentials."""

IssuerUrl = Annotated[
    str,
    Form(
        rf"https://{_HOST}(?:{_PORT})?{_PATH}",
        "must be the address of an issuer, such as https://gitlab.example.org",
        500,
        _no_issuer,
    ),
]
"""Address of an issuer of identities, as their `iss` has it."""

FileHost = Annotated[
    str,
    Form(
        rf"{_HOST}(?:{_PORT})?",
        "must be a host in lower case, such as files.example.org or files.example.org:8443",
        300,
        _no_file_host,
    ),
]
"""A host, with a port or at the usual one."""

ProxyUrl = Annotated[
    str,
    Form(
        rf"http://{_HOST}{_PORT}/?",
        "must be the address of a proxy with its port, such as http://proxy.example.org:3128",
        300,
        _no_proxy,
    ),
]
"""Address of a forward proxy."""
