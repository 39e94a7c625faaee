"""What concerns want to be watched: what `registry.monitoring` is, with or without monitoring."""

from collections.abc import Mapping
from typing import Any


class MonitoringSocket:
    """Alerts, panels and targets that concerns and users add; without monitoring they are left alone.

    Attributes:
        alerts: Alerting rules, as in a PrometheusRule.
        panels: Panels of the dashboard, as Grafana knows them.
        targets: What answers under /metrics/<target> of the port that is scraped.
        certificates: Names of cert-manager's Certificates whose end is to be watched.
    """

    def __init__(self) -> None:
        """Begin with the targets that every registry has."""
        self.alerts: list[Mapping[str, Any]] = []
        self.panels: list[Mapping[str, Any]] = []
        self.targets: list[str] = ["gateway", "server"]
        self.certificates: list[str] = []

    def add_alert(self, rule: Mapping[str, Any]) -> None:
        """Add an alerting rule."""
        self.alerts.append(rule)

    def add_panel(self, panel: Mapping[str, Any]) -> None:
        """Add a panel to the dashboard."""
        self.panels.append(panel)

    def add_target(self, name: str) -> None:
        """Add a target; a file of the gateway has to answer for it under /metrics/<name>."""
        self.targets.append(name)

    def watch_certificate(self, name: str) -> None:
        """Have the end of a Certificate of cert-manager watched."""
        self.certificates.append(name)
