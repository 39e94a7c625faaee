"""Libraries that a container brings from an index when it starts, each of one version and known by its sha256."""

from collections.abc import Mapping

DIRECTORY = "/libraries"
REQUIREMENTS = "requirements.txt"
"""Name of the file with their versions and hashes, which `make libraries` writes beside the code that needs them."""


def command(requirements: str, *options: str) -> list[str]:
    """Return the command that installs what is in a file of requirements, and nothing else.

    Args:
        requirements: Path of the file.
        options: Further options of pip.
    """
    pip = ["python", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"]
    return [*pip, *options, f"--target={DIRECTORY}", f"--requirement={requirements}"]


def environment(index: str, *, authorities: str | None) -> Mapping[str, str]:
    """Return the variables that it reads.

    Args:
        index: Address of the index.
        authorities: Path of the certificates by which that is known; None for those of Python.
    """
    return {
        "HOME": "/tmp",  # noqa: S108 - of the container
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_INDEX_URL": index,
        "PIP_NO_CACHE_DIR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"PIP_CERT": authorities} if authorities else {}),
    }
