"""Moments of UTC that backups are told from one another by."""

import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated

from cdk8s_pypiserver.base.fields import Form

_CALLED = r"[0-9]{8}T[0-9]{6}Z"
_MOMENT = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:T[0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}})?Z)?|{_CALLED}"
_FORMS = ("%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%SZ")


def _no_moment(value: str) -> str | None:
    if not re.fullmatch(_MOMENT, value):
        return None
    for form in _FORMS:
        with suppress(ValueError):
            # No year before 1000: the Job could not write it.
            if datetime.strptime(value, form).strftime(form) == value:  # noqa: DTZ007 - it is but asked for
                return None
    return "is no date or time that there is"


ManifestTime = Annotated[
    str, Form(_CALLED, "must be the time of a backup as its manifest is called: 20261126T083000Z", 16, _no_moment)
]
"""When a backup was made."""

Moment = Annotated[
    str, Form(_MOMENT, "must be a date or a time of UTC such as 2026-11-26 or 2026-11-26T08:30:00Z", 30, _no_moment)
]
"""A date, or a time of UTC, also as a backup is called."""
