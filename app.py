"""Writes dist/: a chart for each storage mode, and a component for each concern that goes with any of them."""

import gc
import importlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

# Loading the Kubernetes classes allocates hundreds of thousands of objects that all stay: looking for garbage among
# them, time and again and once more at exit, takes a tenth of the run.
gc.disable()
# There is no plugin of pydantic here: to look for one takes the metadata of all that is installed.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

import jsii  # noqa: E402, F401

# This starts Node.js and waits for it; meanwhile the specs are loaded, which takes as long.
threading.Thread(target=importlib.import_module, args=["cdk8s"]).start()

from cdk8s_pypiserver import (  # noqa: E402
    LDAP,
    Audit,
    AuditSpec,
    AuthSpec,
    AvailabilitySpec,
    Backup,
    BackupSpec,
    CopyJob,
    CopySpec,
    GatewayTLSSpec,
    Ingress,
    IngressCertificateSpec,
    IngressTLSSpec,
    KustomizeApp,
    LDAPSpec,
    LocalVolumeSpec,
    Monitoring,
    MonitoringSpec,
    NamespaceChart,
    NetworkPolicy,
    ObjectStoreSpec,
    PermissionRuleSpec,
    Permissions,
    PermissionsSpec,
    PyPIServer,
    PyPIServerChart,
    PyPIServerSpec,
    ReadersSpec,
    RegistryIngressSpec,
    RegistryNetworkPolicySpec,
    RemoteSpec,
    Rendering,
    Retention,
    RetentionRuleSpec,
    RetentionSpec,
    S3VolumeSpec,
    ServerSpec,
    SharedVolumeSpec,
    Spec,
    Upstream,
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
_Joined = TypeVar("_Joined")


class Components:
    """Adds components to an app: each is what differs between two charts, as they are at the time.

    A chart takes long to make, and what a concern changes is the same beside most others: so they share charts.
    """

    def __init__(self, app: KustomizeApp) -> None:
        """Begin with none."""
        self._app, self._compared = app, cdk8s.App()
        self._rendered: dict[PyPIServerChart, Rendering] = {}

    def chart(self, id_: str, spec: PyPIServerSpec) -> PyPIServerChart:
        """Return a chart that is not written."""
        return PyPIServerChart(self._compared, id_, spec)

    def freeze(self, *charts: PyPIServerChart) -> None:
        """Have charts of the app written as they are now."""
        self._rendered.update((chart, self._app.freeze(chart)) for chart in charts)

    def of_fields(
        self,
        concern: str,
        without: PyPIServerChart,
        *,
        of: Sequence[cdk8s.Chart] | None = None,
        after: Sequence[str] = (),
        apart: Sequence[str] = (),
        **fields: Spec,
    ) -> PyPIServerChart:
        """Add what these fields of its spec change in a chart, and return the chart that has them."""
        chart = self.chart(concern, without.registry.spec.replace(**fields))
        earlier = self._rendered.get(without, without)
        having = self._rendered[chart] = Rendering(chart)
        self._app.add_component(concern, without=earlier, having=having, charts=of, after=after, never_with=apart)
        return chart

    def of_joining(  # noqa: PLR0913
        self,
        concern: str,
        chart: PyPIServerChart,
        join: Callable[[PyPIServer], _Joined],
        *,
        of: Sequence[cdk8s.Chart] | None = None,
        after: Sequence[str] = (),
        apart: Sequence[str] = (),
    ) -> _Joined:
        """Add what changes in a chart when this joins its registry, beside all that has joined before; return it."""
        without = self._rendering(chart)
        joined = join(chart.registry)
        having = self._rendered[chart] = Rendering(chart)
        self._app.add_component(concern, without=without, having=having, charts=of, after=after, never_with=apart)
        return joined

    def of_isolation(
        self,
        chart: PyPIServerChart,
        policies: Mapping[str, tuple[Sequence[cdk8s.Chart], PyPIServerChart]],
        *,
        admitting: Sequence[PyPIServerChart],
    ) -> None:
        """Add the network policies of a chart, the last to join it.

        Args:
            chart: The chart.
            policies: For each component the charts that it goes with, and the one whose ways out it has too: they are
                for those alone who need them.
            admitting: Charts whose ways in they have. One to a port that nothing listens at does no harm.
        """
        without, ways = self._rendering(chart), chart.registry.network
        for other in admitting:
            ways.admit(other.registry.network)
        policy = NetworkPolicy(chart.registry, "network-policy", spec=RegistryNetworkPolicySpec())
        for concern, (of, reaching) in policies.items():
            policy.network = ways.reaching(reaching.registry.network)
            self._app.add_component(concern, without=without, having=Rendering(chart), charts=of)

    def _rendering(self, chart: PyPIServerChart) -> Rendering:
        return self._rendered.get(chart) or Rendering(chart)


def retain(registry: PyPIServer) -> None:
    """Have retention join a registry."""
    spec = registry.spec
    Retention(registry, "retention", spec=RETENTION, port=spec.service.port, tls=spec.gateway_tls)


def back_up(registry: PyPIServer) -> None:
    """Have backups join a registry."""
    spec = registry.spec
    Backup(registry, "backup", spec=BACKUP, storage=spec.storage, port=spec.service.port, tls=spec.gateway_tls)


def main() -> None:
    """Synthesize everything."""
    app = KustomizeApp()
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
    add_components(app, charts, elsewhere)
    app.synth()


def add_components(app: KustomizeApp, charts: Mapping[str, PyPIServerChart], elsewhere: PyPIServerChart) -> None:
    """Add all components.

    Args:
        app: The app that writes them.
        charts: The charts whose packages are on a volume, by storage mode.
        elsewhere: The chart whose packages are in an object store.
    """
    local, shared, s3 = charts["local"], charts["shared"], charts["s3-csi"]
    mounted = [*charts.values()]
    add = Components(app)
    add.of_fields("ha", shared, of=[shared], availability=AvailabilitySpec())
    # A chart each also for concerns that join it later, since neither changes what the other does: upstream beside the
    # initial password, monitoring beside anonymous reads, the directory beside removal.
    public = add.of_fields("initial-password", local, of=[local], auth=AuthSpec(initial_password=True))
    monitored = add.of_fields("anonymous-reads", local, auth=AuthSpec(anonymous_reads=True))
    directory = add.of_fields("removal", local, server=ServerSpec(allow_removal=True))
    secured = add.of_fields("gateway-tls", local, apart=["ingress"], gateway_tls=GatewayTLSSpec())
    ldap = partial(LDAP, id_="ldap", spec=DIRECTORY)
    add.of_joining("ldap", directory, ldap, apart=POLICIES_WITHOUT_LDAP)
    monitor = partial(Monitoring, id_="monitoring", spec=MonitoringSpec())
    add.of_joining("monitoring", monitored, monitor)
    apart = ["monitoring", "network-policy", "network-policy-readers", "network-policy-object-store"]
    add.of_joining("upstream", public, partial(Upstream, id_="upstream", spec=UPSTREAM), apart=apart)
    add.of_joining("monitoring-upstream", public, monitor, after=["upstream"])
    # The other concerns join charts that are written, as they were before.
    add.freeze(local, s3, elsewhere)
    add.of_joining("ingress", local, partial(Ingress, id_="ingress", spec=RegistryIngressSpec(host=HOST)))
    add.of_fields("tls", local, after=["ingress"], ingress=RegistryIngressSpec(host=HOST, tls=TLS))
    # The first whom the policies let in, as patches name it by its place.
    for chart in (s3, elsewhere):
        chart.registry.network.admit(local.registry.network)
    add.of_joining("audit", local, partial(Audit, spec=AuditSpec()))
    permit = partial(Permissions, id_="permissions", spec=PERMISSIONS)
    permissions = add.of_joining("permissions", local, permit, apart=["anonymous-reads"])
    # Which projects are public is said by whoever uses the component, in `permissions.json`.
    add.of_joining("anonymous-projects", local, lambda _: permissions.allow_anonymous(), after=["permissions"])
    add.of_joining("retention", local, retain, apart=["gateway-tls"])
    add.of_joining("backup", local, back_up, of=mounted, apart=["gateway-tls"])
    copying = partial(CopyJob, id_="copying", spec=COPYING, port=local.registry.spec.service.port)
    add.of_joining("copy", local, copying, apart=["gateway-tls"])
    add.of_joining("backup-object-store", elsewhere, back_up, of=[elsewhere], apart=["gateway-tls"])
    # The same by HTTPS.
    add.of_joining("retention-gateway-tls", secured, retain, after=["gateway-tls"])
    add.of_joining("backup-gateway-tls", secured, back_up, of=mounted, after=["gateway-tls"])
    secured = add.chart("secured-object-store", elsewhere.registry.spec.replace(gateway_tls=GatewayTLSSpec()))
    add.of_joining("backup-object-store-gateway-tls", secured, back_up, of=[elsewhere], after=["gateway-tls"])
    policies: dict[PyPIServerChart, dict[str, tuple[Sequence[cdk8s.Chart], PyPIServerChart]]] = {
        local: {
            "network-policy": ([chart for chart in mounted if not chart.registry.readers], shared),
            "network-policy-upstream": (mounted, public),
            "network-policy-ldap": (mounted, directory),
        },
        s3: {
            "network-policy-readers": ([chart for chart in mounted if chart.registry.readers], shared),
        },
        elsewhere: {
            "network-policy-object-store": ([elsewhere], shared),
            "network-policy-object-store-upstream": ([elsewhere], public),
            "network-policy-object-store-ldap": ([elsewhere], directory),
        },
    }
    for chart, each in policies.items():
        add.of_isolation(chart, each, admitting=[local, monitored])
    app.add_mirror("images")


if __name__ == "__main__":
    main()
    gc.freeze()
