"""A registry whose packages stay when it is deleted: their volume is a folder of its own."""

from cdk8s_pypiserver import AuthSpec, KustomizeApp, LocalVolumeSpec, PyPIServerChart, PyPIServerSpec, VolumeChart

app = KustomizeApp()
VolumeChart(app, "volume", PyPIServerSpec(storage=LocalVolumeSpec(size="50Gi")))
kept = LocalVolumeSpec(existing_claim="pypiserver-packages")
PyPIServerChart(app, "registry", PyPIServerSpec(storage=kept, auth=AuthSpec(initial_password=True)))
app.synth()
