"""What of upstream is worth an alert, and what the dashboard shows of it."""

from cdk8s_pypiserver.monitoring.socket import Alert, MonitoringSocket, Panel

PART = "upstream"
_WHO = "{{ $labels.namespace }}/{{ $labels.job }}"
_OWN = f"{{{Panel.REGISTRY}}}"
_FEWEST = 10
"""Files pushed out while in use, within an hour, that are worth a look: a single large wheel may cost some."""
_SHARE = 0.1
"""The share of the files fetched within the hour that they have to be."""


def watch(monitoring: MonitoringSocket) -> None:
    """Have the container scraped, and add alerts and panels."""
    monitoring.add_target(PART)
    for alert in _alerts():
        monitoring.add_alert(alert)
    for panel in _panels():
        monitoring.add_panel(panel)


def _alerts() -> list[Alert]:
    def within_an_hour(metric: str) -> str:
        return f"sum by (namespace, job, pod) (increase({metric}[1h]))"

    young = within_an_hour("pypiserver_upstream_evicted_young_total")
    fetched = within_an_hour('pypiserver_upstream_fetches_total{result="kept"}')
    return [
        Alert(
            name="PyPIServerUpstreamAway",
            expression="min by (namespace, job, pod, index) (pypiserver_upstream_up) == 0",
            summary=f"The index {{{{ $labels.index }}}} does not answer {{{{ $labels.pod }}}} ({_WHO})",
            description="Public packages that are not kept cannot be had meanwhile; private ones can. The log of the "
            "container upstream says why.",
        ),
        Alert(
            name="PyPIServerUpstreamCacheThrashing",
            expression=f"{young} >= {_FEWEST} and {young} > {_SHARE} * {fetched}",
            duration="15m",
            summary=f"The cache of {{{{ $labels.pod }}}} ({_WHO}) is too small for what is in use",
            description="{{ $value | humanize }} files that somebody had asked for within the hour were pushed out to "
            "make room: they are fetched again. Enlarge upstream.cache.size.",
        ),
    ]


def _panels() -> list[Panel]:
    answered = {
        legend: f'sum(rate(pypiserver_requests_total{{{Panel.REGISTRY}, route="{route}"}}[$__rate_interval]))'
        for legend, route in (("from the cache", "public"), ("fetched", "fetched"))
    }
    requests, seconds = (_rate(f"pypiserver_upstream_{metric}_total", "index") for metric in ("requests", "seconds"))
    return [
        Panel(title="Public packages", unit="reqps", queries=answered),
        Panel(
            title="Indexes that answer",
            queries={"{{index}}": f"min by (index) (pypiserver_upstream_up{_OWN})"},
        ),
        Panel(
            title="Received from upstream",
            unit="Bps",
            queries={"bytes": f"sum(rate(pypiserver_upstream_received_bytes_total{_OWN}[$__rate_interval]))"},
        ),
        Panel(
            title="Requests to upstream",
            unit="reqps",
            queries={"{{index}} {{result}}": _rate("pypiserver_upstream_requests_total", "index, result")},
        ),
        Panel(title="Mean time of such a request", unit="s", queries={"{{index}}": f"{seconds} / {requests}"}),
        Panel(
            title="Files that were fetched",
            unit="reqps",
            queries={"{{result}}": _rate("pypiserver_upstream_fetches_total", "result")},
        ),
        Panel(
            title="Cache",
            unit="bytes",
            queries={
                "{{pod}}": f"pypiserver_upstream_cache_bytes{_OWN}",
                "limit": f"max(pypiserver_upstream_cache_limit_bytes{_OWN})",
            },
        ),
        Panel(
            title="Files pushed out of the cache",
            unit="reqps",
            queries={
                legend: f"sum(rate(pypiserver_upstream_{metric}_total{_OWN}[$__rate_interval]))"
                for legend, metric in (("all", "evictions"), ("in use within the hour", "evicted_young"))
            },
        ),
        Panel(
            title="Files that policy hides",
            unit="reqps",
            queries={"{{reason}}": _rate("pypiserver_upstream_hidden_files_total", "reason")},
        ),
    ]


def _rate(metric: str, labels: str) -> str:
    return f"sum by ({labels}) (rate({metric}{_OWN}[$__rate_interval]))"
