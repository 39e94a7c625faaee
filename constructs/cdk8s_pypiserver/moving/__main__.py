"""`python -m cdk8s_pypiserver.moving copy SOURCE TARGET`: the command without the others, as a pod has it."""

from __future__ import annotations

import io
import sys
from argparse import ArgumentParser
from contextlib import redirect_stdout, suppress
from pathlib import Path

from .arguments import add_to

TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet reads how a container ended (its default terminationMessagePath)."""


def main() -> int:
    """Do what the command line says, and return the exit status."""
    parser = ArgumentParser(prog="python -m cdk8s_pypiserver.moving", description="Copy packages.")
    add_to(parser.add_subparsers(required=True, metavar="COMMAND"))
    chosen = parser.parse_args()
    with redirect_stdout(io.StringIO()) as table:
        status: int = chosen.run(chosen)
    sys.stdout.write(table.getvalue())
    # After a failure the kubelet takes the end of the log, which has the reasons too, if nothing is here.
    if status == 0:
        with suppress(OSError), TERMINATION_LOG.open("r+") as file:
            file.write(table.getvalue())
    return status


if __name__ == "__main__":
    sys.exit(main())
