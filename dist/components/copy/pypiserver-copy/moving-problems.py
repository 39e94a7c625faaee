"""What goes wrong, in words that hold no password and no address with one."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import requests
import urllib3


class InputError(Exception):
    """An argument with which there is nothing to begin."""

    def __init__(self, argument: str, value: object, why: str) -> None:
        """Name the argument, its value and the reason."""
        super().__init__(f"argument {argument}: {str(value)!r} {why}")


class CopyError(Exception):
    """Why one package, or the packages of one project, cannot be copied."""


class PassingError(CopyError):
    """The same, and it may work if it is tried again, after so many seconds if the server said so."""

    def __init__(self, why: str, after: float | None = None) -> None:
        """Say why and when."""
        super().__init__(why)
        self.after = after


class HopelessError(CopyError):
    """The same, and no other package will fare better."""


class ExistsError(CopyError):
    """There is a file of this name at the target by now."""


class StoppedError(Exception):
    """The user wants the command to end."""


def shown(url: str) -> str:
    """An address as it may be shown: without a user, and without a query, which may hold a token."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def why(error: Exception) -> str:
    """The reason of an error of the network or of the file system; theirs name whole addresses."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return f"no trusted connection: {_root(error)}"
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError):
        root = _root(error)
        return f"the connection failed: {root.strerror or root if isinstance(root, OSError) else type(root).__name__}"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) + (f": {error.filename}" if error.filename else "")
    return str(error) or type(error).__name__


def _root(error: BaseException) -> BaseException:
    """What an error of a library began with."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        inner = [getattr(error, "reason", None), *error.args, error.__cause__, error.__context__]
        error = next((each for each in inner if isinstance(each, BaseException)), error)
    return error
