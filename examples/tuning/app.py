"""A registry with another argument of gunicorn and another setting, from a spec in a YAML file."""

from pathlib import Path

from cdk8s_pypiserver import KustomizeApp, PyPIServerChart, PyPIServerSpec

app = KustomizeApp()
spec = PyPIServerSpec.from_yaml(Path(__file__).with_name("registry.yaml"))
registry = PyPIServerChart(app, "registry", spec).registry
registry.server.set("RESCAN_SECONDS", "5")
app.synth()
