"""A registry for a Prometheus without the operator, which goes by annotations of the pods."""

import cdk8s

from cdk8s_pypiserver import KustomizeApp, MonitoringSpec, PyPIServer, PyPIServerSpec

app = KustomizeApp()
monitoring = MonitoringSpec(scrape="annotations", rules=False)
PyPIServer(cdk8s.Chart(app, "registry"), "registry", PyPIServerSpec(monitoring=monitoring))
app.synth()
