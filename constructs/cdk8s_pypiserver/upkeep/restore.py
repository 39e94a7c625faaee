"""The restore: what a Job does that somebody starts by hand."""

from typing import Annotated, Literal

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.model import Spec

Moment = Annotated[
    str,
    Form(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?Z)?",
        "must be a date or a time of UTC such as 2026-11-26 or 2026-11-26T08:30:00Z",
        20,
    ),
]
"""A date, or a time of UTC."""


class RestoreSpec(Spec):
    """What a restore does. It is a CronJob that is suspended: whoever needs it makes a Job of it."""

    as_of: Moment | None = None
    """The last backup that is not after this is restored; the last of all if nothing is said."""
    dry_run: bool = True
    """Whether it only tells what it would do."""
    differing: Literal["refuse", "keep", "replace"] = "refuse"
    """What becomes of files that are there with other content: nothing at all is restored, they stay, or the backup's
    take their place."""
    incomplete: bool = False
    """Whether a backup will do that is not of everything there was."""
