"""A registry with public packages: private names first, nothing younger than a week, and a policy of its network."""

from cdk8s_pypiserver import (
    KustomizeApp,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    UpstreamCacheSpec,
    UpstreamIndexSpec,
    UpstreamSpec,
)

app = KustomizeApp()
upstream = UpstreamSpec(
    indexes=[UpstreamIndexSpec(url="https://index.example.org/simple/", file_hosts=["files.example.org"])],
    private_names=["acme-*"],
    minimum_age_days=7,
    no_minimum_age=["certifi"],
    deny=["torch<2"],
    cache=UpstreamCacheSpec(size="50Gi"),
)
PyPIServerChart(app, "registry", PyPIServerSpec(upstream=upstream, network_policy=RegistryNetworkPolicySpec()))
app.synth()
