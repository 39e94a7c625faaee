"""What a store says when it does not do what it is asked for."""

from __future__ import annotations

import errno
import re

from server.http.errors import AwayError
from server.volume.durable import UnsettledError

LONGEST = 300
"""How many characters of what rclone says are shown."""
_HINTS = (
    ("InvalidAccessKeyId", "keys", "the store does not know this access key"),
    ("SignatureDoesNotMatch", "keys", "the secret key is not that of the access key"),
    (
        "ExpiredToken|InvalidToken|AuthenticationFailed|StatusCode: 401|Unauthorized|unable to authenticate",
        "keys",
        "the store does not take these keys",
    ),
    ("RequestTimeTooSkewed", "clock", "the clocks of this node and of the store differ too much"),
    (
        "AuthorizationHeaderMalformed|PermanentRedirect|StatusCode: 301",
        "region",
        "the region, or the endpoint, is another",
    ),
    ("NoSuchBucket", "bucket", "there is no such bucket"),
    ("AccessDenied|StatusCode: 403|Forbidden", "permission", "it is not permitted to these keys"),
    ("certificate has expired", "certificate", "the store's certificate has expired"),
    ("x509: ", "certificate", "the store's certificate is not trusted"),
    ("no such host|server misbehaving", "connection", "no host has the endpoint's name"),
    ("connection refused|connection reset|EOF", "connection", "nobody answers at the endpoint"),
    (
        "i/o timeout|deadline exceeded|TLS handshake timeout|timed out",
        "silence",
        "the store does not answer in time",
    ),
    ("didn't find section in config file|didn't find backend", "remote", "rclone knows no such remote"),
)
"""What to look for in what is said; the reason in a word, as the metric has it; and in a sentence."""
_FOR_GOOD = frozenset({"keys", "clock", "region", "bucket", "permission", "certificate"})
"""What waiting does not change: somebody has to put it right. A remote may be about to be written for rclone."""


class StoreError(AwayError):
    """The store did not do what it was asked for; `strerror` says what that was and why not."""

    def __init__(self, what: str, said: str) -> None:
        """`what` it was asked for, and what was `said` to that, by rclone or by the system."""
        known = ((word, hint) for pattern, word, hint in _HINTS if re.search(pattern, said))
        self.reason, hint = next(known, ("other", ""))
        short = " ".join(said.split())
        short = short if len(short) <= LONGEST else f"{short[: LONGEST // 2]} … {short[-LONGEST // 2 :]}"
        super().__init__(errno.EIO, f"{what}: {f'{hint} ({short})' if hint else short}")
        self.is_for_good = self.reason in _FOR_GOOD
        """Whether waiting does not help."""
        self.is_silence = self.reason == "silence"
        """Whether it has not answered at all, so that another request would wait as long."""


class AbsentError(StoreError):
    """There is no such object."""


class PresentError(StoreError):
    """There is an object already where only a new one was to be put."""


class FencedError(StoreError):
    """Another server writes to this place now, and this one must not any more."""


class DoubtError(UnsettledError, AwayError):
    """Whether a change has reached the store is not known; it may be found to have been made."""
