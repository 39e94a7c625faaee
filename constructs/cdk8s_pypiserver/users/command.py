"""What `user` does with htpasswd files and passwords."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import TYPE_CHECKING, get_args

from .htpasswd import Htpasswd, HtpasswdError, check_name, check_password

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

EXTRA = "user"
"""What to install for the actions that need a password."""


def run(given: Namespace) -> int:
    """Do what the command line says, and return the exit status."""
    try:
        if given.action == "secret":
            sys.stdout.write(_secret(given))
        elif given.action == "list":
            sys.stdout.writelines(
                f"{user}\t{_scheme(digest)}\n" for user, digest in _existing(given.file).users.items()
            )
        else:
            _change(given)
    except HtpasswdError as error:
        sys.stderr.write(f"user: error: {error}\n")
        return 2
    return 0


def _change(given: Namespace) -> None:
    user = check_name(given.user)
    file = Htpasswd(given.file) if given.action == "add" else _existing(given.file)
    if given.action == "remove":
        file.remove(user)
    else:
        # First without a hash, so that nobody types a password in vain.
        (file.add if given.action == "add" else file.replace)(user, "")
        file.replace(user, _hashed(given.cost))
    file.write()


def _existing(path: Path) -> Htpasswd:
    if not path.exists():
        raise HtpasswdError(f"there is no file {path}")
    return Htpasswd(path)


def _hashed(cost: int) -> str:
    try:
        import bcrypt  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError:
        raise HtpasswdError(f"there is no bcrypt here: install the extra '{EXTRA}' of cdk8s-pypiserver") from None
    password = check_password(_password())
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()


def _password() -> str:
    if not sys.stdin.isatty():
        # The bytes as they are, whatever the locale says.
        line = sys.stdin.buffer.readline()
        return line.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    password = getpass("Password: ")
    if password != getpass("Once more: "):
        raise HtpasswdError("the two passwords differ")
    return password


def _scheme(digest: str) -> str:
    if digest.startswith("$2"):
        return f"bcrypt, cost {int(digest[4:6])}"
    return {"$5": "SHA-256-crypt", "$6": "SHA-512-crypt", "$a": "apr1 (MD5)"}.get(digest[:2], "SHA-1, unsalted")


def _secret(given: Namespace) -> str:
    import yaml  # noqa: PLC0415 - the other actions do without

    from cdk8s_pypiserver.base.fields import Label, Name  # noqa: PLC0415 - the same

    files = {key: path for key in ("publishers", "readers") if (path := getattr(given, key))}
    if not files:
        raise HtpasswdError("a Secret needs --publishers or --readers, or both")
    for option, value, kind in (("--name", given.name, Name), ("--namespace", given.namespace, Label)):
        if value is not None and (reason := get_args(kind)[1].reason(value)):
            raise HtpasswdError(f"argument {option}: {value!r} {reason}")
    metadata = {"name": given.name, **({"namespace": given.namespace} if given.namespace else {})}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "stringData": {key: _existing(path).text for key, path in files.items()},
    }
    text: str = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)
    return text
