"""The command line of `token`; what it starts is loaded only then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction

_DESCRIPTION = "Make and list tokens: passwords of the user __token__, each good for some projects until some time."
_EPILOG = """\
The file has a line for each token, with its digest and not the token itself. It becomes the key `tokens` of the
registry's Secret, which counts within 150 s. The exit status is 0, 1 if a line of the file is none, 2 if the
command line is wrong; then nothing is written.
"""


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command to those of a parser."""
    parser = commands.add_parser("token", help="make and list tokens", description=_DESCRIPTION, epilog=_EPILOG)
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    new = actions.add_parser("new", help="make a token, print it this once, and add its line to the file")
    new.add_argument("name", metavar="NAME", help="what it is called, such as ci-team-a; it is in the token")
    new.add_argument("--projects", metavar="PATTERNS", required=True, help="such as 'team-a-*,tool', or '*' for all")
    new.add_argument(
        "--rights", metavar="RIGHTS", default="publish", help="of read,publish,yank,remove (default: publish)"
    )
    new.add_argument(
        "--expires", metavar="WHEN", default="90d", help="90d, 12h, 2027-01-31T00:00:00Z or never (default: 90d)"
    )
    new.add_argument("--not-before", metavar="WHEN", help="the same, for a token that does not count yet")
    listed = actions.add_parser("list", help="show the tokens of the file, and which of its lines are none")
    patch = actions.add_parser("patch", help="print what `kubectl patch secret --patch-file` takes")
    for each in (new, listed, patch):
        each.add_argument("--file", metavar="FILE", type=Path, default=Path("tokens"), help="default: tokens")
        each.set_defaults(run=_run)


def _run(given: Namespace) -> int:
    from .command import run  # noqa: PLC0415 - the other commands do without

    return run(given)
