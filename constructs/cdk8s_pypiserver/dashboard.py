"""The Grafana dashboard of a registry, found by Grafana's sidecar through its label."""

import json
from typing import Any

from cdk8s_plus_27 import k8s
from constructs import Construct

from .alerts import ERRORS, LATENCY, REQUESTS, UPLOADS
from .metadata import Metadata

SUFFIX = "dashboard"
LABEL = {"grafana_dashboard": "1"}
"""What the sidecar of Grafana's Helm chart looks for (its sidecar.dashboards.label)."""

_OWN = '{namespace="$namespace", job="$job"}'
_HEIGHT, _WIDTH = 8, 8
_COLUMNS = 24


def config_map(scope: Construct, *, metadata: Metadata) -> k8s.KubeConfigMap:
    """Make the ConfigMap."""
    text = json.dumps(dashboard(metadata.name), indent=1) + "\n"
    return k8s.KubeConfigMap(
        scope,
        "dashboard",
        metadata=metadata.of(SUFFIX, labels=LABEL),
        data={f"{metadata.name}.json": text},
    )


def dashboard(name: str) -> dict[str, Any]:
    """Return the dashboard as Grafana keeps it; `name` is the registry that it shows first."""
    panels = [
        _panel("Requests", "reqps", {"{{route}}": f"{REQUESTS}{_OWN}"}),
        _panel("Requests that fail", "percentunit", {"5xx": f"{ERRORS}{_OWN}"}),
        _panel("Time of 95 in 100 requests", "s", {"{{route}}": f"{LATENCY}{_OWN}"}),
        _panel("Answers", "reqps", {"{{status}} {{user}}": _rate("pypiserver_requests_total", "status, user")}),
        _panel("Sent", "Bps", {"{{route}}": _rate("pypiserver_sent_bytes_total", "route")}),
        _panel("Mean time in the server", "s", {"{{route}}": _mean("pypiserver_server_duration_seconds")}),
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
        _panel("Time since the last publish", "s", {"": f"time() - {_max('last_publish_timestamp_seconds')}"}, "stat"),
        _panel("Volume answers", "bool_yes_no", {"{{pod}}": f"pypiserver_volume_answers{_OWN}"}, "stat"),
        _panel("Scraped", "bool_yes_no", {"{{pod}} {{part}}": f"up{_OWN}"}, "stat"),
    ]
    across = _COLUMNS // _WIDTH
    for number, panel in enumerate(panels):
        panel["id"] = number + 1
        panel["gridPos"] = {
            "x": number % across * _WIDTH,
            "y": number // across * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        }
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
        "panels": panels,
    }


def _rate(metric: str, labels: str) -> str:
    return f"sum by ({labels}) (rate({metric}{_OWN}[$__rate_interval]))"


def _mean(metric: str) -> str:
    return f"{_rate(f'{metric}_sum', 'route')} / {_rate(f'{metric}_count', 'route')}"


def _max(metric: str) -> str:
    # Every pod on a shared volume counts the same files.
    return f"max(pypiserver_{metric}{_OWN})"


def _panel(title: str, unit: str, queries: dict[str, str], kind: str = "timeseries") -> dict[str, Any]:
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
