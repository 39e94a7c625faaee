"""What no repetition may hide: `.ci/run` tries again what has failed, since some of it waits, but never a loss."""

from __future__ import annotations


class LossError(Exception):
    """What was acknowledged is gone or is another, or somebody was shown what nobody had sent.

    It is no AssertionError: to those who wait for something that one means "not yet".
    """


def no_loss(holds: object, what: object) -> None:
    """Fail for good, and say `what` is lost, unless it holds.

    Raises:
        LossError: It does not.
    """
    if not holds:
        raise LossError(str(what))
