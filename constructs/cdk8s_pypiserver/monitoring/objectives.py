"""What users are promised, and records of how much of it is missed: alerts.py tells when that goes too fast.

Windows and factors are those of Google's "Site Reliability Workbook", chapter 5, for 30 days: at 14.4 times the allowed
rate a fiftieth of the month's budget goes in an hour, at 6 times a twentieth in six hours. The short window ends the
alert soon after the fault.
"""

from dataclasses import dataclass
from typing import Any

BUDGET = 0.01
"""Share of the requests that may miss an objective."""
PAGE_SECONDS = "0.25"
"""An index page takes no longer than this; a limit of the histogram in runtime/monitoring/gateway.mtail."""
FEWEST = 10
"""Requests that have to miss the objective within the long window: three of the four of a quiet night say little."""


@dataclass(frozen=True)
class Burn:
    """A speed at which the budget is used up."""

    long: str
    short: str
    factor: float
    severity: str

    @property
    def limit(self) -> float:
        """The share of requests that is too high in both windows."""
        return round(self.factor * BUDGET, 3)


BURNS = (Burn("1h", "5m", 14.4, "critical"), Burn("6h", "30m", 6, "warning"))


@dataclass(frozen=True)
class Objective:
    """A promise: which of all requests miss it."""

    record: str
    alert: str
    missed: str
    """Counters of what misses it; {window} is the range."""
    all: str
    """Counters of all requests that it is about."""
    summary: str
    description: str

    def recorded(self, window: str) -> str:
        """Name of the recorded share of requests that miss it."""
        return f"{self.record}:ratio_rate{window}"


def _sum(metric: str, *matchers: str) -> str:
    # Doubled, since the window is still to be put in.
    selected = f"{{{{{', '.join(matchers)}}}}}" if matchers else ""
    return f"sum by (namespace, job) (increase({metric}{selected}[{{window}}]))"


_PAGES = 'route=~"index|project"'
_DURATION = "pypiserver_request_duration_seconds"
ERRORS = Objective(
    "namespace_job:pypiserver_errors",
    "PyPIServerErrors",
    _sum("pypiserver_requests_total", 'status="5xx"'),
    _sum("pypiserver_requests_total"),
    "{{ $value | humanizePercentage }} of the requests to {{ $labels.namespace }}/{{ $labels.job }} fail",
    "Their status is 500 or above; pypiserver_errors_total has the reasons, the gateway's log has each of them.",
)
SLOW_PAGES = Objective(
    "namespace_job:pypiserver_slow_pages",
    "PyPIServerSlow",
    f"({_sum(f'{_DURATION}_count', _PAGES)} - " + _sum(f"{_DURATION}_bucket", _PAGES, f'le="{PAGE_SECONDS}"') + ")",
    _sum(f"{_DURATION}_count", _PAGES),
    "{{ $value | humanizePercentage }} of the index pages of {{ $labels.namespace }}/{{ $labels.job }} take longer "
    f"than {PAGE_SECONDS} s",
    "The gateway's log tells where the time goes: upstream_duration is the server's part.",
)
OBJECTIVES = (ERRORS, SLOW_PAGES)


def records() -> list[dict[str, Any]]:
    """Return the rules that record how many requests miss an objective, for each window."""
    return [
        {
            "record": objective.recorded(window),
            # Where nothing was ever missed there may be no counter of it.
            "expr": f"({missed} or 0 * {total}) / ({total} > 0)",
        }
        for objective in OBJECTIVES
        for burn in BURNS
        for window in (burn.short, burn.long)
        for missed, total in [(objective.missed.format(window=window), objective.all.format(window=window))]
    ]
