"""The Grafana dashboard of a registry, found by Grafana's sidecar through its label.

Grafana writes none of a provider's dashboards any more once two of its files have one uid or title, and neither can
follow what Kustomize makes of a registry's name and namespace. So registries that show the same have the same file,
which the sidecar keeps once; one that shows more has a dashboard of its own.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .alerts import LATENCY, REQUESTS, UPLOADS
from .objectives import ERRORS, PAGE_SECONDS, SLOW_PAGES
from .socket import Panel

SUFFIX = "dashboard"
LABEL = {"grafana_dashboard": "1"}
"""What the sidecar of Grafana's Helm chart looks for (its sidecar.dashboards.label)."""

_OWN = f"{{{Panel.REGISTRY}}}"
_COLUMNS = 24
_FURTHER_IN_A_ROW = 3
_GREEN, _YELLOW, _RED = "green", "yellow", "red"


def files(name: str, namespace: str | None, further: Sequence[Panel]) -> dict[str, str]:
    """Return the file of the dashboard by its name, which Grafana's sidecar keeps; arguments as for `dashboard`."""
    made = dashboard(name, namespace, further)
    return {f"{made['uid']}.json": json.dumps(made, indent=1) + "\n"}


def dashboard(name: str, namespace: str | None = None, further: Sequence[Panel] = ()) -> dict[str, Any]:
    """Return the dashboard as Grafana keeps it.

    The first row says whether all is well, in green or red; what is below it tells why not.

    Args:
        name: Name of the registry; any can be chosen.
        namespace: Its namespace, if that is known.
        further: Panels that this registry shows below those of all.
    """
    registry = f"{namespace}/{name}" if namespace else name
    own = f"-{hashlib.sha256(registry.encode()).hexdigest()[:16]}" if further else ""
    rows: list[tuple[Sequence[Panel], int]] = [
        (_state(), 4),
        (_traffic(), 8),
        (_publishing(), 8),
        (_inside(), 8),
        (_kept(), 4),
    ]
    rows += [(further[first : first + _FURTHER_IN_A_ROW], 8) for first in range(0, len(further), _FURTHER_IN_A_ROW)]
    return {
        "uid": f"pypiserver{own}",
        "title": f"PyPI: {registry}" if further else "PyPI",
        "tags": ["pypiserver"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"},
                # First, since the namespace may not be known here.
                _variable("job", "label_values(pypiserver_volume_answers, job)", name if further else None),
                _variable("namespace", 'label_values(pypiserver_volume_answers{job="$job"}, namespace)'),
            ]
        },
        "panels": _placed(rows),
    }


def _state() -> list[Panel]:
    free = f"min(pypiserver_volume_free_bytes{_OWN} / pypiserver_volume_size_bytes{_OWN})"
    return [
        _figure("Answers", "percentunit", f"avg(up{_OWN})", {None: _RED, 0.5: _YELLOW, 1: _GREEN}),
        _figure("Volume answers", "percentunit", f"avg(pypiserver_volume_answers{_OWN})", {None: _RED, 1: _GREEN}),
        _figure("Entries not readable", "short", _max("volume_problems"), {None: _GREEN, 1: _RED}),
        _figure(
            "Requests that fail",
            "percentunit",
            f"{ERRORS.recorded('5m')}{_OWN}",
            {None: _GREEN, 0.01: _YELLOW, 0.1: _RED},
        ),
        _figure(
            f"Pages slower than {PAGE_SECONDS} s",
            "percentunit",
            f"{SLOW_PAGES.recorded('5m')}{_OWN}",
            {None: _GREEN, 0.01: _YELLOW, 0.1: _RED},
        ),
        _figure("Volume free", "percentunit", free, {None: _RED, 0.1: _YELLOW, 0.2: _GREEN}),
        _figure("Last publish, ago", "s", f"time() - {_max('last_publish_timestamp_seconds')}", {None: _GREEN}),
    ]


def _traffic() -> list[Panel]:
    return [
        _curves("Requests", "reqps", {"{{route}}": f"{REQUESTS}{_OWN}"}),
        _curves("Answers", "reqps", {"{{status}} {{user}}": _rate("pypiserver_requests_total", "status, user")}),
        _curves("Time of 95 in 100 requests", "s", {"{{route}}": f"{LATENCY}{_OWN}"}),
    ]


def _publishing() -> list[Panel]:
    return [
        _curves("Uploads", "reqps", {"{{result}}": f"{UPLOADS}{_OWN}"}),
        _curves("Files and projects", "short", {"files": _max("packages"), "projects": _max("projects")}),
        _curves(
            "Volume",
            "bytes",
            {
                "packages": _max("stored_bytes"),
                "free": f"min(pypiserver_volume_free_bytes{_OWN})",
                "size": _max("volume_size_bytes"),
            },
        ),
    ]


def _inside() -> list[Panel]:
    return [
        _curves("Why requests fail", "reqps", {"{{reason}}": _rate("pypiserver_errors_total", "reason")}),
        _curves("Mean time in the server", "s", {"{{route}}": _mean("pypiserver_server_duration_seconds")}),
        _curves("Verdicts about credentials", "reqps", {"{{result}}": _rate("pypiserver_verdicts_total", "result")}),
        _curves("Sent", "Bps", {"{{route}}": _rate("pypiserver_sent_bytes_total", "route")}),
    ]


def _kept() -> list[Panel]:
    return [
        _figure("Last backup, ago", "s", f"time() - {_max('backup_last_success_timestamp_seconds')}", {None: _GREEN}),
        _figure("Backup failed", "short", _max("backup_failed"), {None: _GREEN, 1: _RED}),
        _figure("Backup overdue by", "s", f"time() - {_max('backup_due_timestamp_seconds')}", {None: _GREEN, 0: _RED}),
        _figure("Files in it", "short", _max("backup_packages"), {None: _GREEN}),
        _figure("Last drill, ago", "s", f"time() - {_max('drill_last_success_timestamp_seconds')}", {None: _GREEN}),
        _figure("Drill failed", "short", _max("drill_failed"), {None: _GREEN, 1: _RED}),
    ]


def _curves(title: str, unit: str, queries: Mapping[str, str]) -> Panel:
    return Panel(title=title, unit=unit, queries=queries)


def _figure(title: str, unit: str, query: str, colours: Mapping[float | None, str]) -> Panel:
    return Panel(title=title, unit=unit, queries={"": query}, colours=colours)


def _rate(metric: str, labels: str) -> str:
    return f"sum by ({labels}) (rate({metric}{_OWN}[$__rate_interval]))"


def _mean(metric: str) -> str:
    return f"{_rate(f'{metric}_sum', 'route')} / {_rate(f'{metric}_count', 'route')}"


def _max(metric: str) -> str:
    # Every pod on a shared volume counts the same files.
    return f"max(pypiserver_{metric}{_OWN})"


def _placed(rows: Sequence[tuple[Sequence[Panel], int]]) -> list[dict[str, Any]]:
    """Number the panels, and give each row's the same width."""
    top = 0
    placed: list[dict[str, Any]] = []
    for panels, height in rows:
        width = _COLUMNS // len(panels)
        for column, panel in enumerate(panels):
            place = {"x": column * width, "y": top, "w": width, "h": height}
            placed.append({**_drawn(panel), "id": len(placed) + 1, "gridPos": place})
        top += height
    return placed


def _drawn(panel: Panel) -> dict[str, Any]:
    """Return a panel as Grafana keeps it."""
    source = {"type": "prometheus", "uid": "$datasource"}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    drawn: dict[str, Any] = {
        "title": panel.title,
        "type": "stat" if panel.colours else "timeseries",
        "datasource": source,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": _reference(number), "datasource": source, "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(panel.queries.items())
        ],
    }
    if panel.colours:
        steps = [{"value": value, "color": colour} for value, colour in panel.colours.items()]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        drawn["options"] = {"colorMode": "background", "graphMode": "none"}
    return drawn


def _reference(number: int) -> str:
    """Return A to Z, AA, AB …: how Grafana names the queries of a panel."""
    letter = chr(ord("A") + number % 26)
    return letter if number < 26 else _reference(number // 26 - 1) + letter  # noqa: PLR2004 - the letters there are


def _variable(name: str, query: str, value: str | None = None) -> dict[str, Any]:
    variable: dict[str, Any] = {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }
    if value:
        variable["current"] = {"text": value, "value": value}
    return variable
