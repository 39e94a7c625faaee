"""A registry with an alert, a panel and a target of one's own, and a certificate and a backup that are watched."""

import cdk8s

from cdk8s_pypiserver import Alert, KustomizeApp, MonitoringSpec, Panel, PyPIServer, PyPIServerSpec

app = KustomizeApp()
registry = PyPIServer(cdk8s.Chart(app, "registry"), "registry", PyPIServerSpec(monitoring=MonitoringSpec()))
registry.monitoring.add_alert(
    Alert(
        name="ManyFiles",
        expression="max by (namespace, job) (pypiserver_packages) > 50000",
        summary="{{ $labels.namespace }}/{{ $labels.job }} holds {{ $value }} files",
        description="Time to remove old releases.",
    )
)
registry.monitoring.add_panel(
    Panel(title="Files by pod", queries={"{{pod}}": f"pypiserver_packages{{{Panel.REGISTRY}}}"})
)
registry.monitoring.watch_certificate("wildcard")
registry.monitoring.watch_backup("nightly", max_age_seconds=26 * 60 * 60)
app.synth()
