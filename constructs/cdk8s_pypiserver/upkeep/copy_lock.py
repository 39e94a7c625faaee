"""A lock file, which names what is copied, and the environments that it is read for."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from cdk8s_pypiserver.base.addresses import IndexUrl
from cdk8s_pypiserver.base.fields import Form, Name
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem

LockFile = Annotated[
    str,
    Form(
        r"(?:[A-Za-z0-9._-]*\.txt|(?:[A-Za-z0-9._-]+[.-])?(?:(?:uv|poetry)\.lock|pylock(?:\.[A-Za-z0-9_-]+)?\.toml))",
        "must be the key of a lock file: uv.lock, poetry.lock, pylock.toml or requirements in *.txt",
        200,
    ),
]
"""Key of a ConfigMap that is a lock file, known by its name."""

PythonVersion = Annotated[str, Form(r"[0-9]+\.[0-9]+(?:\.[0-9]+)?", "must be a version of Python such as 3.12", 20)]
"""A Python that a lock file is installed with."""

PlatformTag = Annotated[
    str,
    Form(
        r"(?:manylinux(?:1|2010|2014|_[0-9]+_[0-9]+)|musllinux_[0-9]+_[0-9]+|macosx_[0-9]+_[0-9]+|linux)_[a-z0-9_]+"
        r"|win32|win_(?:amd64|arm64)",
        "must be the tag of a platform such as manylinux_2_28_x86_64, macosx_14_0_arm64 or win_amd64",
        100,
    ),
]
"""A platform that a lock file is installed on."""


class CopyLockSpec(Spec):
    """A lock file, which names what is copied."""

    config_map: Name
    """ConfigMap of the registry's namespace that has it; at most 1 MiB."""
    file: LockFile
    """Its key there, by which its kind is known: `uv.lock`, `poetry.lock`, `pylock.toml`, or `*.txt` with hashes."""
    index: IndexUrl | None = None
    """Index that has the files; by default they come from where the lock file says."""
    pythons: Sequence[PythonVersion] = ()
    """Only what these Pythons install, with `platforms`; by default every file that is named."""
    platforms: Sequence[PlatformTag] = ()
    """And on these platforms."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield one half of an environment."""
        yield from super().conflicts()
        if bool(self.pythons) != bool(self.platforms):
            one, other = ("pythons", "platforms") if self.pythons else ("platforms", "pythons")
            yield Problem((other,), NO_VALUE, f"must be given with {one}: an environment is both")
