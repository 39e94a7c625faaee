"""`python -m cdk8s_pypiserver.moving copy SOURCE TARGET`: the command without the others, as a pod has it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from .arguments import add_to


def main() -> int:
    """Do what the command line says, and return the exit status."""
    parser = ArgumentParser(prog="python -m cdk8s_pypiserver.moving", description="Copy packages.")
    add_to(parser.add_subparsers(required=True, metavar="COMMAND"))
    chosen = parser.parse_args()
    status: int = chosen.run(chosen)
    return status


if __name__ == "__main__":
    sys.exit(main())
