"""The Grafana dashboard of a registry, found by Grafana's sidecar through its label."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from constructs import Construct

from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.objects import KubernetesObject

from .alerts import LATENCY, REQUESTS, UPLOADS
from .objectives import ERRORS, PAGE_SECONDS, SLOW_PAGES

SUFFIX = "dashboard"
LABEL = {"grafana_dashboard": "1"}
"""What the sidecar of Grafana's Helm chart looks for (its sidecar.dashboards.label)."""

Panel = dict[str, Any]

_OWN = '{namespace="$namespace", job="$job"}'
_COLUMNS = 24
_GREEN, _YELLOW, _RED = "green", "yellow", "red"


def config_map(
    scope: Construct, *, identity: Identity, further: Callable[[], Sequence[Mapping[str, Any]]]
) -> KubernetesObject:
    """Make the ConfigMap; `further` returns the panels of other concerns."""

    def content() -> dict[str, Any]:
        text = json.dumps(dashboard(identity.name, further()), indent=1) + "\n"
        return {"data": {f"{identity.name}.json": text}}

    return KubernetesObject(
        scope, "dashboard", kind="ConfigMap", identity=identity, suffix=SUFFIX, labels=LABEL, content=content
    )


def dashboard(name: str, further: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the dashboard as Grafana keeps it; `name` is the registry that it shows first.

    The first row says whether all is well, in green or red; what is below it tells why not.
    """
    return {
        "uid": f"pypiserver-{name}"[:40],
        "title": f"PyPI: {name}",
        "tags": ["pypiserver"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"},
                _variable("namespace", "label_values(pypiserver_volume_answers, namespace)"),
                _variable("job", 'label_values(pypiserver_volume_answers{namespace="$namespace"}, job)', name),
            ]
        },
        "panels": _placed(
            [
                (_state(), 4),
                (_traffic(), 8),
                (_publishing(), 8),
                (_inside(), 8),
                # Three beside each other, as above.
                *(([dict(panel) for panel in further[at : at + 3]], 8) for at in range(0, len(further), 3)),
            ]
        ),
    }


def _state() -> list[Panel]:
    free = f"min(pypiserver_volume_free_bytes{_OWN} / pypiserver_volume_size_bytes{_OWN})"
    return [
        _state_panel("Answers", "percentunit", f"avg(up{_OWN})", {None: _RED, 0.5: _YELLOW, 1: _GREEN}),
        _state_panel("Volume answers", "percentunit", f"avg(pypiserver_volume_answers{_OWN})", {None: _RED, 1: _GREEN}),
        _state_panel(
            "Requests that fail",
            "percentunit",
            f"{ERRORS.recorded('5m')}{_OWN}",
            {None: _GREEN, 0.01: _YELLOW, 0.1: _RED},
        ),
        _state_panel(
            f"Pages slower than {PAGE_SECONDS} s",
            "percentunit",
            f"{SLOW_PAGES.recorded('5m')}{_OWN}",
            {None: _GREEN, 0.01: _YELLOW, 0.1: _RED},
        ),
        _state_panel("Volume free", "percentunit", free, {None: _RED, 0.1: _YELLOW, 0.2: _GREEN}),
        _state_panel("Last publish, ago", "s", f"time() - {_max('last_publish_timestamp_seconds')}", {None: _GREEN}),
    ]


def _traffic() -> list[Panel]:
    return [
        _panel("Requests", "reqps", {"{{route}}": f"{REQUESTS}{_OWN}"}),
        _panel("Answers", "reqps", {"{{status}} {{user}}": _rate("pypiserver_requests_total", "status, user")}),
        _panel("Time of 95 in 100 requests", "s", {"{{route}}": f"{LATENCY}{_OWN}"}),
    ]


def _publishing() -> list[Panel]:
    return [
        _panel("Uploads", "reqps", {"{{result}}": f"{UPLOADS}{_OWN}"}),
        _panel("Files and projects", "short", {"files": _max("packages"), "projects": _max("projects")}),
        _panel(
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
        _panel("Why requests fail", "reqps", {"{{reason}}": _rate("pypiserver_errors_total", "reason")}),
        _panel("Mean time in the server", "s", {"{{route}}": _mean("pypiserver_server_duration_seconds")}),
        _panel("Verdicts about credentials", "reqps", {"{{result}}": _rate("pypiserver_verdicts_total", "result")}),
        _panel("Sent", "Bps", {"{{route}}": _rate("pypiserver_sent_bytes_total", "route")}),
    ]


def _placed(rows: list[tuple[list[Panel], int]]) -> list[Panel]:
    """Number the panels, and give each row's the same width."""
    top = 0
    placed: list[Panel] = []
    for panels, height in rows:
        width = _COLUMNS // len(panels)
        for column, panel in enumerate(panels):
            place = {"x": column * width, "y": top, "w": width, "h": height}
            placed.append({**panel, "id": len(placed) + 1, "gridPos": place})
        top += height
    return placed


def _rate(metric: str, labels: str) -> str:
    return f"sum by ({labels}) (rate({metric}{_OWN}[$__rate_interval]))"


def _mean(metric: str) -> str:
    return f"{_rate(f'{metric}_sum', 'route')} / {_rate(f'{metric}_count', 'route')}"


def _max(metric: str) -> str:
    # Every pod on a shared volume counts the same files.
    return f"max(pypiserver_{metric}{_OWN})"


def _panel(title: str, unit: str, queries: dict[str, str], kind: str = "timeseries") -> Panel:
    source = {"type": "prometheus", "uid": "$datasource"}
    return {
        "title": title,
        "type": kind,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": source, "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(queries.items())
        ],
    }


def _state_panel(title: str, unit: str, query: str, colours: dict[float | None, str]) -> Panel:
    """One figure on a coloured ground; `colours` says from which value on which."""
    panel = _panel(title, unit, {"": query}, "stat")
    steps = [{"value": value, "color": colour} for value, colour in colours.items()]
    panel["fieldConfig"]["defaults"]["thresholds"] = {"mode": "absolute", "steps": steps}
    return {**panel, "options": {"colorMode": "background", "graphMode": "none"}}


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
