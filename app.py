"""Writes dist/: a chart for each storage mode, and a component for each concern that goes with any of them."""

import gc
import importlib
import threading

# Loading the Kubernetes classes allocates hundreds of thousands of objects that all stay: looking for garbage among
# them, time and again and once more at exit, takes a tenth of the run.
gc.disable()

import jsii  # noqa: E402, F401

# This starts Node.js and waits for it; meanwhile the specs are loaded, which takes as long. So cdk8s comes after them.
threading.Thread(target=importlib.import_module, args=["constructs"]).start()

from cdk8s_pypiserver import (  # noqa: E402
    AuthSpec,
    AvailabilitySpec,
    GatewayTLSSpec,
    IngressCertificateSpec,
    IngressTLSSpec,
    KustomizeApp,
    LocalVolumeSpec,
    MonitoringSpec,
    NamespaceChart,
    NetworkPolicySpec,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryIngressSpec,
    S3VolumeSpec,
    SharedVolumeSpec,
    VolumeChart,
)

import cdk8s  # noqa: E402  # isort: skip

CLAIM = "pypiserver-packages"
STORAGE: dict[str, LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec] = {
    "local": LocalVolumeSpec(),
    "shared": SharedVolumeSpec(),
    "s3-csi": S3VolumeSpec(bucket="pypi-packages"),
}
HOST = "pypi.example.org"
TLS = IngressTLSSpec(certificate=IngressCertificateSpec(issuer="letsencrypt"))


def main() -> None:
    """Synthesize everything."""
    app = KustomizeApp()
    NamespaceChart(app, "namespace")
    charts = {}
    for mode, storage in STORAGE.items():
        # A chart of its own, so that whoever deletes the registry keeps the packages.
        VolumeChart(app, f"{mode}-volume", PyPIServerSpec(storage=storage))
        charts[mode] = PyPIServerChart(app, mode, PyPIServerSpec(storage=storage.replace(existing_claim=CLAIM)))
    local, shared = charts["local"], charts["shared"]
    alone = local.registry.spec.storage

    def having(concern: str, spec: PyPIServerSpec) -> PyPIServerChart:
        return PyPIServerChart(cdk8s.App(), concern, spec)

    ingress = having("ingress", PyPIServerSpec(storage=alone, ingress=RegistryIngressSpec(host=HOST)))
    app.add_component("ingress", without=local, having=ingress)
    secured = having("tls", PyPIServerSpec(storage=alone, ingress=RegistryIngressSpec(host=HOST, tls=TLS)))
    app.add_component("tls", without=ingress, having=secured)
    ha = having("ha", PyPIServerSpec(storage=shared.registry.spec.storage, availability=AvailabilitySpec()))
    app.add_component("ha", without=shared, having=ha, charts=[shared])
    anonymous = having("anonymous-reads", PyPIServerSpec(storage=alone, auth=AuthSpec(anonymous_reads=True)))
    app.add_component("anonymous-reads", without=local, having=anonymous)
    password = having("initial-password", PyPIServerSpec(storage=alone, auth=AuthSpec(initial_password=True)))
    app.add_component("initial-password", without=local, having=password, charts=[local])
    encrypted = having("gateway-tls", PyPIServerSpec(storage=alone, gateway_tls=GatewayTLSSpec()))
    app.add_component("gateway-tls", without=local, having=encrypted, never_with=["ingress"])
    monitoring = having("monitoring", PyPIServerSpec(storage=alone, monitoring=MonitoringSpec()))
    app.add_component("monitoring", without=local, having=monitoring)
    # A way to a port that nothing listens at does no harm: so the policy has those of every component.
    exposed = PyPIServerSpec(ingress=RegistryIngressSpec(host=HOST), monitoring=MonitoringSpec())
    policy = having("network-policy", exposed.replace(network_policy=NetworkPolicySpec()))
    app.add_component("network-policy", without=having("exposed", exposed), having=policy)
    app.synth()


if __name__ == "__main__":
    main()
    gc.freeze()
