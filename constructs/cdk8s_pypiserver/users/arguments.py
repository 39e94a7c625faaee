"""The command line of `user`; what it starts is loaded only then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction

COST = 12
"""bcrypt's cost by default: a quarter of a second for the first check of a password, which is remembered then."""
COSTS = range(10, 15)
"""Costs that can be chosen: 15 would take a pod seconds."""
_DESCRIPTION = """\
Change the htpasswd files `readers` and `publishers` of which the registry's Secret is made. A file that the registry
would not read as a whole is refused, with the numbers of its lines. Nothing is written before all is known to be right.
"""
_WHERE_FROM = """\
The password is asked for twice at a terminal; otherwise it is the first line of standard input. It must not have more
than 72 bytes, which is what bcrypt reads.
"""


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command to those of a parser."""
    parser = commands.add_parser("user", help="change who may read and publish", description=_DESCRIPTION)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for action, text in (("add", "add a user"), ("replace", "give a user another password")):
        adding = actions.add_parser(action, help=text, description=f"{text.capitalize()}. {_WHERE_FROM}")
        _add_entry(adding, action)
        adding.add_argument(
            "--cost",
            metavar="N",
            type=int,
            choices=COSTS,
            default=COST,
            help=f"cost of the bcrypt hash, {COSTS.start} to {COSTS.stop - 1} (default: {COST}); one more takes twice"
            " as long",
        )
    _add_entry(actions.add_parser("remove", help="take a user away", description="Take a user away."), "remove")
    listing = actions.add_parser("list", help="list the users", description="List the users and how each is hashed.")
    listing.set_defaults(run=_run, action="list")
    listing.add_argument("file", metavar="FILE", type=Path)
    secret = actions.add_parser("secret", help="print the Secret", description="Print a Secret of such files, as YAML.")
    secret.set_defaults(run=_run, action="secret")
    secret.add_argument("--readers", metavar="FILE", type=Path, help="who may read")
    secret.add_argument("--publishers", metavar="FILE", type=Path, help="who may publish, and read")
    secret.add_argument("--name", default="pypiserver-auth", help="its name (default: %(default)s)")
    secret.add_argument("--namespace", help="its namespace (default: that of whoever applies it)")


def _add_entry(parser: ArgumentParser, action: str) -> None:
    parser.set_defaults(run=_run, action=action)
    parser.add_argument("file", metavar="FILE", type=Path, help="an htpasswd file; `add` makes one")
    parser.add_argument("user", metavar="NAME", help="the name of the user")


def _run(given: Namespace) -> int:
    from .command import run  # noqa: PLC0415 - the other commands do without

    return run(given)
