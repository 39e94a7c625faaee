"""A registry for a Prometheus without the operator, which goes by annotations of the pods."""

from cdk8s_pypiserver import KustomizeApp, MonitoringSpec, PyPIServerChart, PyPIServerSpec

app = KustomizeApp()
monitoring = MonitoringSpec(scrape="annotations", rules=False)
PyPIServerChart(app, "registry", PyPIServerSpec(monitoring=monitoring))
app.synth()
