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
    AuditSpec,
    AuthSpec,
    AvailabilitySpec,
    BackupSpec,
    CopySpec,
    GatewayTLSSpec,
    IngressCertificateSpec,
    IngressTLSSpec,
    KustomizeApp,
    LDAPSpec,
    LocalVolumeSpec,
    MonitoringSpec,
    NamespaceChart,
    NetworkPolicy,
    NetworkPolicySpec,
    ObjectStoreSpec,
    PermissionRuleSpec,
    PermissionsSpec,
    PyPIServerChart,
    PyPIServerSpec,
    ReadersSpec,
    RegistryIngressSpec,
    RemoteSpec,
    Rendering,
    RetentionRuleSpec,
    RetentionSpec,
    S3VolumeSpec,
    SharedVolumeSpec,
    UpstreamIndexSpec,
    UpstreamSpec,
    VolumeChart,
)

import cdk8s  # noqa: E402  # isort: skip

CLAIM = "pypiserver-packages"
STORAGE: dict[str, LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec] = {
    "local": LocalVolumeSpec(),
    "shared": SharedVolumeSpec(),
    "s3-csi": S3VolumeSpec(bucket="pypi-packages"),
}
# Without a volume: what outlives the registry is the store. Whoever uses the chart says where that is.
STORE = ObjectStoreSpec(
    remote=RemoteSpec(
        type="s3",
        options={"provider": "Other", "endpoint": "https://s3.example.org", "region": "us-east-1"},
        path="pypi-packages",
    )
)
HOST = "pypi.example.org"
# A host that is nobody's: whoever uses the component names an index in `upstream.json`.
UPSTREAM = UpstreamSpec(indexes=[UpstreamIndexSpec(url="https://index.example.org/simple/")])
# A directory that is nobody's: whoever uses the component says in a patch where theirs is.
DIRECTORY = LDAPSpec(
    servers=["ldap.example.org"],
    ca_config_map="ldap-ca",
    base="ou=people,dc=example,dc=org",
    bind_dn="cn=pypi,ou=services,dc=example,dc=org",
    readers=["cn=pypi-readers,ou=groups,dc=example,dc=org"],
    publishers=["cn=pypi-publishers,ou=groups,dc=example,dc=org"],
)
POLICIES_WITHOUT_LDAP = [
    f"network-policy{suffix}" for suffix in ("", "-readers", "-upstream", "-object-store", "-object-store-upstream")
]
# A dry run: whoever uses the component writes rules of their own into `rules.json`.
RETENTION = RetentionSpec(rules=[RetentionRuleSpec(keep_versions=10, final_replaces_prereleases=True)])
# What everybody may do without permissions: whoever uses the component writes rules into `permissions.json`.
PERMISSIONS = PermissionsSpec(rules=[PermissionRuleSpec(projects=["*"], read=["*"], publish=["*"], yank=["*"])])
# A store that is nobody's: whoever uses the component names one in a patch.
BACKUP = BackupSpec(
    remote=RemoteSpec(
        type="s3",
        path="backups/pypiserver",
        options={"provider": "Other", "endpoint": "https://s3.example.org", "region": "region"},
    )
)
# An index that is nobody's: whoever uses the component names one in a patch.
COPYING = CopySpec(source="https://old.example.org/simple/")
TLS = IngressTLSSpec(certificate=IngressCertificateSpec(issuer="letsencrypt"))


def main() -> None:
    """Synthesize everything."""
    # Of charts that are written themselves, and of those that components are made of.
    app, compared = KustomizeApp(), cdk8s.App()
    NamespaceChart(app, "namespace")
    charts = {}
    for mode, storage in STORAGE.items():
        # A chart of its own, so that whoever deletes the registry keeps the packages.
        VolumeChart(app, f"{mode}-volume", PyPIServerSpec(storage=storage))
        claimed = storage.replace(existing_claim=CLAIM)
        # Where one pod alone may write there are always readers beside it: so components change both, in any order.
        readers = None if storage.readers_refused else ReadersSpec()
        charts[mode] = PyPIServerChart(app, mode, PyPIServerSpec(storage=claimed, readers=readers))
    elsewhere = PyPIServerChart(app, "object-store", PyPIServerSpec(storage=STORE, readers=ReadersSpec()))
    local, shared = charts["local"], charts["shared"]
    with_readers = [chart for chart in charts.values() if chart.registry.readers]
    without_readers = [chart for chart in charts.values() if not chart.registry.readers]
    alone = local.registry.spec.storage

    def having(concern: str, spec: PyPIServerSpec) -> PyPIServerChart:
        return PyPIServerChart(compared, concern, spec)

    ingress = having("ingress", PyPIServerSpec(storage=alone, ingress=RegistryIngressSpec(host=HOST)))
    app.add_component("ingress", without=local, having=ingress)
    secured = having("tls", PyPIServerSpec(storage=alone, ingress=RegistryIngressSpec(host=HOST, tls=TLS)))
    app.add_component("tls", without=ingress, having=secured)
    ha = having("ha", PyPIServerSpec(storage=shared.registry.spec.storage, availability=AvailabilitySpec()))
    app.add_component("ha", without=shared, having=ha, charts=[shared])
    password = having("initial-password", PyPIServerSpec(storage=alone, auth=AuthSpec(initial_password=True)))
    app.add_component("initial-password", without=local, having=password, charts=[local])
    for concern, spec, apart in (
        ("anonymous-reads", PyPIServerSpec(storage=alone, auth=AuthSpec(anonymous_reads=True)), []),
        ("audit", PyPIServerSpec(storage=alone, audit=AuditSpec()), []),
        ("permissions", PyPIServerSpec(storage=alone, permissions=PERMISSIONS), ["anonymous-reads"]),
    ):
        app.add_component(concern, without=local, having=having(concern, spec), never_with=apart)
    directory = having("ldap", PyPIServerSpec(storage=alone, ldap=DIRECTORY))
    app.add_component("ldap", without=local, having=directory, never_with=POLICIES_WITHOUT_LDAP)
    encrypted = having("gateway-tls", PyPIServerSpec(storage=alone, gateway_tls=GatewayTLSSpec()))
    app.add_component("gateway-tls", without=local, having=encrypted, never_with=["ingress"])
    retaining = having("retention", PyPIServerSpec(storage=alone, retention=RETENTION))
    app.add_component("retention", without=local, having=retaining, never_with=["gateway-tls"])
    both = encrypted.registry.spec.replace(retention=RETENTION)
    app.add_component("retention-gateway-tls", without=encrypted, having=having("retention-gateway-tls", both))
    monitoring = having("monitoring", PyPIServerSpec(storage=alone, monitoring=MonitoringSpec()))
    app.add_component("monitoring", without=local, having=monitoring)
    public = having("upstream", PyPIServerSpec(storage=alone, upstream=UPSTREAM))
    apart = ["monitoring", "network-policy", "network-policy-readers", "network-policy-object-store"]
    app.add_component("upstream", without=local, having=public, never_with=apart)
    both = public.registry.spec.replace(monitoring=MonitoringSpec())
    app.add_component("monitoring-upstream", without=public, having=having("monitoring-upstream", both))
    saved = {}
    for suffix, base, of, apart in (
        ("", local, [*charts.values()], ["gateway-tls"]),
        ("-gateway-tls", encrypted, [*charts.values()], []),
        ("-object-store", elsewhere, [elsewhere], ["gateway-tls"]),
    ):
        saved[base] = having(f"backup{suffix}", base.registry.spec.replace(backup=BACKUP))
        app.add_component(f"backup{suffix}", without=base, having=saved[base], charts=of, never_with=apart)
    copying = having("copy", PyPIServerSpec(storage=alone, copying=COPYING))
    app.add_component("copy", without=local, having=copying, never_with=["gateway-tls"])
    for base, policies in (
        # Each with the chart whose ways out it has too, which are for those alone who need them: `local` has none.
        (
            local,
            [
                ("network-policy", without_readers, local),
                ("network-policy-upstream", [*charts.values()], public),
                ("network-policy-ldap", [*charts.values()], directory),
            ],
        ),
        (charts["s3-csi"], [("network-policy-readers", with_readers, local)]),
        (
            elsewhere,
            [
                ("network-policy-object-store", [elsewhere], local),
                ("network-policy-object-store-ldap", [elsewhere], directory),
                ("network-policy-object-store-upstream", [elsewhere], public),
            ],
        ),
    ):
        isolated = having(f"isolated-{base.node.id}", base.registry.spec)
        ways, without = isolated.registry.network, Rendering(isolated)
        # A way to a port that nothing listens at does no harm: so the policies have those of every component.
        for other in (ingress, retaining, saved.get(base, saved[local]), copying, monitoring):
            ways.admit(other.registry.network)
        policy = NetworkPolicy(isolated.registry, "network-policy", spec=NetworkPolicySpec())
        for concern, of, needing in policies:
            policy.network = ways.reaching(needing.registry.network)
            app.add_component(concern, without=without, having=Rendering(isolated), charts=of)
    app.synth()


if __name__ == "__main__":
    main()
    gc.freeze()
