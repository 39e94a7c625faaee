"""Why a run ends without what it was for."""

from __future__ import annotations

import re

_REASONS = (
    ("certificate", r"x509|certificate|tls: "),
    ("clock", r"RequestTimeTooSkewed|time too skewed|clock"),
    ("full", r"no space left|disk quota|InsufficientStorage|QuotaExceeded|507 |storage quota|XMinioStorageFull"),
    (
        "denied",
        (
            r"AccessDenied|Access Denied|Forbidden|StatusCode: 40[13]|SignatureDoesNotMatch|InvalidAccessKeyId|"
            r"unable to authenticate|permission denied|Permission denied|read-only file system|401 |403 |"
            r"AuthorizationFailure|AuthenticationFailed|input too short when revealing|failed to reveal|"
            r"failed to decode password|Unauthorized"
        ),
    ),
    ("missing", r"NoSuchBucket|bucket does not exist|directory not found|container does not exist|ContainerNotFound"),
    (
        "away",
        (
            r"connection refused|no such host|i/o timeout|deadline exceeded|connection reset|broken pipe|"
            r"no route to host|network is unreachable|ServiceUnavailable|StatusCode: 5|50[0234] |"
            r"EOF|TLS handshake timeout|closed network connection|request send failed"
        ),
    ),
)
"""What rclone's lines say, in the order in which it counts."""


class RunError(RuntimeError):
    """A run cannot go on; the text says what to do about it.

    Attributes:
        reason: One word for metrics and alerts.
    """

    def __init__(self, reason: str, text: str) -> None:
        """Say why."""
        super().__init__(text)
        self.reason = reason


def reason_of(lines: str) -> str:
    """One word for what a store has answered, as rclone tells it."""
    return next((reason for reason, pattern in _REASONS if re.search(pattern, lines)), "store")
