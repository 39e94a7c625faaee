"""The command line of `schema`; what it starts is loaded only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction

_DESCRIPTION = """\
Print the JSON schema of a registry's spec, for the editor of its YAML file. What is right field by field and cannot
work together is no part of it: that is refused when the registry is synthesized. Needs Node.js, as the constructs do.
"""


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command to those of a parser."""
    parser = commands.add_parser("schema", help="print the JSON schema of a spec", description=_DESCRIPTION)
    parser.set_defaults(run=_run)


def _run(_: Namespace) -> int:
    from .command import run  # noqa: PLC0415 - the other commands do without

    return run()
