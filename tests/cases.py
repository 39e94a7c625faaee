"""The registries that snapshots and composition tests are about."""

from cdk8s_pypiserver import (
    AuthSpec,
    AvailabilitySpec,
    GatewayCertificateSpec,
    GatewaySpec,
    GatewayTLSSpec,
    IngressCertificateSpec,
    IngressTLSSpec,
    LocalVolumeSpec,
    MonitoringSpec,
    NetworkPolicySpec,
    PyPIServerSpec,
    RegistryIngressSpec,
    RegistryServiceSpec,
    Resources,
    S3VolumeSpec,
    ServerSpec,
    SharedVolumeSpec,
)

HOST = "pypi.example.org"
OWN_CERTIFICATE = IngressTLSSpec(certificate=IngressCertificateSpec(issuer="own-ca", object=True))
LETSENCRYPT = IngressTLSSpec(certificate=IngressCertificateSpec(issuer="letsencrypt"))
OWN_CA = GatewayTLSSpec(certificate=GatewayCertificateSpec(issuer="own-ca", hosts=["pypiserver.team.svc"]))

STORAGE: dict[str, LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec] = {
    "local": LocalVolumeSpec(),
    "shared": SharedVolumeSpec(),
    "s3-csi": S3VolumeSpec(bucket="pypi-packages"),
}

CASES = {
    "defaults": PyPIServerSpec(),
    "shared": PyPIServerSpec(storage=SharedVolumeSpec(storage_class="nfs"), replicas=3),
    "s3-static": PyPIServerSpec(storage=S3VolumeSpec(bucket="pypi-packages")),
    "s3-dynamic": PyPIServerSpec(storage=S3VolumeSpec(bucket="pypi-packages", provisioning="dynamic")),
    "certificate": PyPIServerSpec(
        ingress=RegistryIngressSpec(
            host=HOST,
            class_name="traefik",
            tls=IngressTLSSpec(certificate=IngressCertificateSpec(issuer="own-ca", object=True)),
        )
    ),
    "existing-tls-secret": PyPIServerSpec(
        ingress=RegistryIngressSpec(host=HOST, tls=IngressTLSSpec(secret="wildcard"))
    ),
    "gateway-tls": PyPIServerSpec(gateway_tls=GatewayTLSSpec(secret="own")),
    "gateway-certificate": PyPIServerSpec(gateway_tls=OWN_CA),
    "openshift": PyPIServerSpec(user_id=None),
    "monitoring": PyPIServerSpec(monitoring=MonitoringSpec()),
    "monitoring-by-pods": PyPIServerSpec(
        monitoring=MonitoringSpec(scrape="pod-monitor", object_labels={"release": "prometheus"}, dashboard=False)
    ),
    "monitoring-by-annotations": PyPIServerSpec(
        monitoring=MonitoringSpec(scrape="annotations", rules=False, dashboard=False)
    ),
    "everything": PyPIServerSpec(
        name="team-a",
        storage=SharedVolumeSpec(size="1Ti", storage_class="cephfs", rescan_seconds=10),
        server=ServerSpec(threads=32, allow_removal=True, resources=Resources(cpu_limit="2")),
        gateway=GatewaySpec(max_upload="2Gi", concurrent_uploads=10),
        auth=AuthSpec(secret="team-a-users", anonymous_reads=True),
        service=RegistryServiceSpec(port=8080),
        ingress=RegistryIngressSpec(host=HOST, class_name="nginx", tls=LETSENCRYPT),
        availability=AvailabilitySpec(min_replicas=3, max_replicas=9, min_available=2, cpu_percent=60),
        monitoring=MonitoringSpec(interval_seconds=15),
        network_policy=NetworkPolicySpec(),
        termination_grace_seconds=600,
    ),
}
