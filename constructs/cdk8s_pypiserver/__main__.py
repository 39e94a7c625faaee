"""`python -m cdk8s_pypiserver COMMAND`: what is done with registries that run, and for those who write specs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from .images import arguments as images
from .moving import arguments as copying
from .schema import arguments as schema
from .tokens import arguments as tokens
from .users import arguments as users

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(given: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    parser = ArgumentParser(
        prog="python -m cdk8s_pypiserver", description="Commands for registries that run, and for specs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    copying.add_to(commands)
    tokens.add_to(commands)
    users.add_to(commands)
    images.add_to(commands)
    schema.add_to(commands)
    chosen = parser.parse_args(given)
    status: int = chosen.run(chosen)
    return status


if __name__ == "__main__":
    sys.exit(main())
