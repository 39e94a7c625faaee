"""A registry that takes over a team's packages from another one."""

from cdk8s_pypiserver import CopySpec, KustomizeApp, PyPIServerChart, PyPIServerSpec

app = KustomizeApp()
copying = CopySpec(
    source="https://old.example.org/simple/",
    only=["acme-*"],
    limit_rate="20M",
    libraries="https://mirror.example.org/simple/",
)
PyPIServerChart(app, "registry", PyPIServerSpec(copying=copying))
app.synth()
