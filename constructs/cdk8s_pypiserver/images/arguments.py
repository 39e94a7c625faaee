"""The command line of `images`; what it starts is loaded only then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction

_DESCRIPTION = "Tell which images run, and by which digests."
_LIST = """\
List the images of what would be applied: a folder with a kustomization.yaml, which kubectl renders, a file of YAML, or
- for standard input. Without any the images that the constructs use by themselves.
"""
_LOCK = """\
Ask the registries for the digests of all images, with skopeo, which has to be installed, and write FILE. An image
without an index of linux/amd64 and linux/arm64 is refused; then nothing is written. skopeo's own files and variables
say where mirrors are and who logs in.
"""
_SBOM = """\
Print a bill of materials (CycloneDX 1.6, JSON) of this package, of the libraries beside it, and of the images of what
would be applied; without any SOURCE of the images that the constructs use by themselves.
"""


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command to those of a parser."""
    parser = commands.add_parser("images", help="tell which images run", description=_DESCRIPTION)
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="list the images of manifests", description=_LIST)
    listing.add_argument("sources", metavar="SOURCE", nargs="*", help="a folder, a file, or -")
    listing.add_argument("--json", action="store_true", help="with digests, platforms and the containers that run them")
    locking = actions.add_parser("lock", help="write the digests of all images", description=_LOCK)
    locking.add_argument("file", metavar="FILE", type=Path, help="the lock")
    bill = actions.add_parser("sbom", help="print a bill of materials", description=_SBOM)
    bill.add_argument("sources", metavar="SOURCE", nargs="*", help="a folder, a file, or -")
    for each in (listing, locking, bill):
        each.set_defaults(run=_run)


def _run(given: Namespace) -> int:
    from .command import run  # noqa: PLC0415 - the other commands do without

    return run(given)
