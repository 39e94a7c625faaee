"""The restore: what a Job does that somebody starts by hand."""

from typing import Literal

from cdk8s_pypiserver.base.model import Spec

from .moments import Moment


class RestoreSpec(Spec):
    """What a restore does. It is a CronJob that is suspended: whoever needs it makes a Job of it."""

    as_of: Moment | None = None
    """The last backup that is not after this is restored, to the end of that day or minute; the last of all if nothing
    is said."""
    dry_run: bool = True
    """Whether it only tells what it would do."""
    differing: Literal["refuse", "keep", "replace"] = "refuse"
    """What becomes of files that are there with other content: nothing at all is restored, they stay, or the backup's
    take their place."""
    incomplete: bool = False
    """Whether a backup will do that is not of everything there was."""
