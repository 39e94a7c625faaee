"""A registry whose packages are in a bucket, without a CSI driver: the pods keep a cache of them and nothing else."""

from cdk8s_pypiserver import (
    KustomizeApp,
    ObjectStoreSpec,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    RemoteSpec,
)

app = KustomizeApp()
store = ObjectStoreSpec(
    remote=RemoteSpec(
        type="s3",
        options={"provider": "Ceph", "endpoint": "https://s3.example.org", "region": "eu-1"},
        path="python-packages",
    ),
    size="100Gi",
)
PyPIServerChart(app, "registry", PyPIServerSpec(storage=store, network_policy=RegistryNetworkPolicySpec()))
app.synth()
