"""The registries that snapshots and composition tests are about."""

from cdk8s_pypiserver import (
    AttestationsSpec,
    AttestedPublisherSpec,
    AuthSpec,
    AvailabilitySpec,
    BackupSpec,
    CircleCIIdentitySpec,
    CopyLockSpec,
    CopySpec,
    DrillSpec,
    ExternalAuthSpec,
    GatewayCertificateSpec,
    GatewaySpec,
    GatewayTLSSpec,
    GitHubIdentitySpec,
    GitLabIdentitySpec,
    GoogleIdentitySpec,
    IngressCertificateSpec,
    IngressTLSSpec,
    LDAPSpec,
    LocalVolumeSpec,
    MonitoringSpec,
    ObjectStoreSpec,
    PermissionGroupSpec,
    PermissionRuleSpec,
    PermissionsSpec,
    PyPIServerSpec,
    ReadersSpec,
    RegistryIngressSpec,
    RegistryNetworkPolicySpec,
    RegistryServiceSpec,
    RemoteSpec,
    Resources,
    RestoreSpec,
    RetentionRuleSpec,
    RetentionSpec,
    S3VolumeSpec,
    ServerSpec,
    SharedVolumeSpec,
    TrustedPublisherSpec,
    TrustedPublishingSpec,
    UpstreamCacheSpec,
    UpstreamIndexSpec,
    UpstreamSpec,
)

HOST = "pypi.example.org"
OWN_CERTIFICATE = IngressTLSSpec(certificate=IngressCertificateSpec(issuer="own-ca", object=True))
LETSENCRYPT = IngressTLSSpec(certificate=IngressCertificateSpec(issuer="letsencrypt"))
OWN_CA = GatewayTLSSpec(certificate=GatewayCertificateSpec(issuer="own-ca", hosts=["pypiserver.team.svc"]))

PUBLIC = UpstreamSpec(indexes=[UpstreamIndexSpec(url="https://index.example.org/simple/")])
"""What the component `upstream` has."""

DIRECTORY = LDAPSpec(
    servers=["ldap.example.org"],
    ca_config_map="ldap-ca",
    base="ou=people,dc=example,dc=org",
    bind_dn="cn=pypi,ou=services,dc=example,dc=org",
    readers=["cn=pypi-readers,ou=groups,dc=example,dc=org"],
    publishers=["cn=pypi-publishers,ou=groups,dc=example,dc=org"],
)
"""What the component `ldap` has."""

RETENTION = RetentionSpec(rules=[RetentionRuleSpec(keep_versions=10, final_replaces_prereleases=True)])
"""What the component `retention` has."""
EXTERNAL = ExternalAuthSpec(
    url="http://oauth2-proxy.auth.svc:4180/oauth2/auth", readers=["developers"], publishers=["release-managers"]
)
TRUSTED = TrustedPublishingSpec(
    audience="pypi.example.org",
    publishers=[
        TrustedPublisherSpec(
            name="team-a",
            issuer="https://gitlab.example.org",
            claims={"project_path": "team-a/lib", "ref_protected": "true"},
            projects=["team-a-*"],
        )
    ],
)
ATTESTED = AttestationsSpec(
    publishers=[
        AttestedPublisherSpec(
            projects=["acme-*"], identity=GitHubIdentitySpec(repository="acme/lib", workflow="release.yml")
        )
    ]
)
PERMISSIONS = PermissionsSpec(rules=[PermissionRuleSpec(projects=["*"], read=["*"], publish=["*"], yank=["*"])])
"""What the component `permissions` has."""
BACKUP = BackupSpec(
    remote=RemoteSpec(
        type="s3",
        path="backups/pypiserver",
        options={"provider": "Other", "endpoint": "https://s3.example.org", "region": "region"},
    )
)
"""What the component `backup` has."""

COPYING = CopySpec(source="https://old.example.org/simple/")
"""What the component `copy` has."""

STORE = ObjectStoreSpec(
    remote=RemoteSpec(
        type="s3",
        options={"provider": "Other", "endpoint": "https://s3.example.org", "region": "us-east-1"},
        path="pypi-packages",
    )
)
"""What the chart `object-store` has."""

STORAGE: dict[str, LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec | ObjectStoreSpec] = {
    "local": LocalVolumeSpec(),
    "shared": SharedVolumeSpec(),
    "s3-csi": S3VolumeSpec(bucket="pypi-packages"),
    "object-store": STORE,
}

READERS: dict[str, ReadersSpec] = {"s3-csi": ReadersSpec(), "object-store": ReadersSpec()}
"""The readers of charts in dist/ that have some."""

CASES = {
    "defaults": PyPIServerSpec(),
    "shared": PyPIServerSpec(storage=SharedVolumeSpec(storage_class="nfs"), replicas=3),
    "s3-static": PyPIServerSpec(storage=S3VolumeSpec(bucket="pypi-packages")),
    "readers": PyPIServerSpec(
        storage=S3VolumeSpec(bucket="pypi-packages"), readers=ReadersSpec(min_replicas=1, memory_use="400Mi")
    ),
    "s3-dynamic": PyPIServerSpec(storage=S3VolumeSpec(bucket="pypi-packages", provisioning="dynamic")),
    "object-store": PyPIServerSpec(storage=STORE),
    "object-store-of-a-company": PyPIServerSpec(
        name="team-a",
        storage=ObjectStoreSpec(
            remote=RemoteSpec(
                type="sftp",
                options={"host": "files.tools.svc", "port": "2222", "user": "pypi"},
                path="srv/pypi",
                secret="file-server",
                secret_options=["pass"],
                peers=[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tools"}}}],
                ca_config_map="company-ca",
            ),
            folder="packages",
            size="200Gi",
            existing_claim="cache",
            identity="7d6f8b1c-0000-4000-8000-000000000000",
            rescan_seconds=600,
            poll_seconds=5,
        ),
        upstream=PUBLIC,
        network_policy=RegistryNetworkPolicySpec(),
    ),
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
    "upstream": PyPIServerSpec(upstream=PUBLIC),
    "upstream-of-a-company": PyPIServerSpec(
        upstream=UpstreamSpec(
            indexes=[
                UpstreamIndexSpec(
                    name="proxied",
                    url="https://nexus.example.org:8443/repository/pypi/simple",
                    credentials_secret="nexus",
                    ca_config_map="company-ca",
                ),
                UpstreamIndexSpec(
                    url="https://index.example.org/simple/",
                    file_hosts=["files.example.org", "files.example.org:8443"],
                    ca_secret="index-ca",
                ),
            ],
            private_names=["acme-*"],
            merge=["torch"],
            shadowing="allowed",
            minimum_age_days=7,
            no_minimum_age=["setuptools"],
            allow=["django >= 4, < 5", "Typing_Extensions"],
            deny=["torch<2"],
            page_seconds=60,
            cache=UpstreamCacheSpec(size="200Gi", existing_claim="upstream"),
            proxy="http://proxy.example.org:3128",
            peers=[{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        ),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "ldap": PyPIServerSpec(ldap=DIRECTORY),
    "active-directory": PyPIServerSpec(
        ldap=LDAPSpec(
            servers=["dc1.corp.example.org:3269", "dc2.corp.example.org:3269"],
            ca_secret="company-ca",
            base="dc=corp,dc=example,dc=org",
            user_attribute="sAMAccountName",
            user_filter="(&(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))",
            bind_dn="CN=pypi,OU=Services,DC=corp,DC=example,DC=org",
            bind_secret="directory-account",
            everybody_reads=True,
            publishers=["CN=Python Team,OU=Groups,DC=corp,DC=example,DC=org"],
            membership="in-chain",
            seconds=300,
            guesses=3,
            peers=[{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        ),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "external-auth": PyPIServerSpec(external_auth=EXTERNAL),
    "external-auth-of-a-company": PyPIServerSpec(
        external_auth=ExternalAuthSpec(
            url="https://authelia.auth.svc/api/authz/auth-request",
            ca_config_map="company-ca",
            user_header="Remote-User",
            groups_header="Remote-Groups",
            original_url="https://pypi.example.org/",
            everybody_reads=True,
            publishers=["release managers", "python"],
            seconds=30,
            guesses=2,
            ports=[9091],
            peers=[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "auth"}}}],
        ),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "trusted-publishing": PyPIServerSpec(trusted_publishing=TRUSTED, network_policy=RegistryNetworkPolicySpec()),
    "attestations": PyPIServerSpec(attestations=ATTESTED, network_policy=RegistryNetworkPolicySpec()),
    "attestations-of-a-company": PyPIServerSpec(
        storage=S3VolumeSpec(bucket="pypi-packages"),
        readers=ReadersSpec(cpu_percent=70),
        attestations=AttestationsSpec(
            publishers=[
                *ATTESTED.publishers,
                AttestedPublisherSpec(projects=["Acme_Data"], identity=GitLabIdentitySpec(repository="acme/team/data")),
                AttestedPublisherSpec(
                    projects=["tools", "plain-*"],
                    identity=GoogleIdentitySpec(email="ci@acme.iam.gserviceaccount.com"),
                    required=False,
                ),
                AttestedPublisherSpec(
                    projects=["tools"],
                    identity=CircleCIIdentitySpec(
                        project_id="7d6f8b1c-0000-4000-8000-000000000000",
                        pipeline_definition_id="7d6f8b1c-0000-4000-8000-000000000001",
                        vcs_origin="github.com/acme/tools",
                        vcs_ref="refs/heads/main",
                    ),
                    required=False,
                ),
            ],
            trust_root_config_map="sigstore",
            libraries=None,
            image="images.example.org/attestations:1",
        ),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "attestations-from-a-mirror": PyPIServerSpec(
        gateway_tls=OWN_CA,
        attestations=ATTESTED.replace(
            libraries="https://nexus.example.org:8443/repository/pypi/simple",
            ca_config_map="company-ca",
            peers=[{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        ),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "permissions": PyPIServerSpec(permissions=PERMISSIONS),
    "permissions-of-a-company": PyPIServerSpec(
        server=ServerSpec(allow_removal=True),
        permissions=PermissionsSpec(
            groups=[PermissionGroupSpec(name="platform", users=["alice", "bob@example.org"])],
            rules=[
                PermissionRuleSpec(
                    projects=["acme-*"], publish=["@platform", "token:ci"], yank=["@platform"], remove=["alice"]
                ),
                PermissionRuleSpec(projects=["Acme_Data_*"], publish=["carol"]),
                PermissionRuleSpec(projects=["*"], excluding=["acme-data-*"], read=["*"]),
            ],
        ),
    ),
    "permissions-of-a-community": PyPIServerSpec(
        permissions=PermissionsSpec(
            rules=[
                PermissionRuleSpec(projects=["*"], read=["*"], publish=["alice"]),
                PermissionRuleSpec(projects=["open-*"], read=["@anonymous"]),
            ],
        ),
    ),
    "retention": PyPIServerSpec(retention=RETENTION),
    "retention-of-a-company": PyPIServerSpec(
        server=ServerSpec(allow_removal=True),
        gateway_tls=OWN_CA,
        retention=RetentionSpec(
            rules=[
                RetentionRuleSpec(projects=["acme-nightly-*"], keep_days=30, keep_versions=3, keep_prereleases=5),
                RetentionRuleSpec(projects=["Acme_*"], keep_days=365, keep_last=False),
                RetentionRuleSpec(keep_versions=20, final_replaces_prereleases=True),
            ],
            dry_run=False,
            pinned=["acme-base", "acme-tools < 2"],
            lock_config_maps=["team-a-locks", "team-b-locks"],
            minimum_age_days=14,
            most_versions=500,
            most_percent=5,
            schedule="0 2 * * SUN",
            time_zone="Europe/Vienna",
            credentials_secret="publisher",
            ca_config_map="company-ca",
        ),
        network_policy=RegistryNetworkPolicySpec(clients=[]),
    ),
    "backup": PyPIServerSpec(backup=BACKUP),
    "backup-of-a-company": PyPIServerSpec(
        storage=SharedVolumeSpec(),
        backup=BackupSpec(
            remote=RemoteSpec(
                type="sftp",
                path="pypi",
                options={"host": "files.example.org", "port": "2222"},
                secret="file-server",
                secret_options=["user", "key_pem"],
                peers=[{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            ),
            encryption_secret="backup-passwords",
            schedule="*/30 * * * *",
            bandwidth="20M",
            accepted="20260101T020000Z",
            restore=RestoreSpec(as_of="2026-01-02", dry_run=False),
            drill=DrillSpec(
                scratch_storage_class="fast",
                url="https://pypi.example.org/simple/",
                ca_config_map="company-ca",
            ),
        ),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "backup-of-a-store": PyPIServerSpec(
        storage=STORE,
        backup=BackupSpec(remote=STORE.remote.replace(path="pypi-copies", secret="pypiserver-s3")),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "backup-to-a-volume": PyPIServerSpec(backup=BackupSpec(claim="pypiserver-copies", drill=None)),
    "copying": PyPIServerSpec(copying=COPYING),
    "copying-of-a-company": PyPIServerSpec(
        gateway_tls=OWN_CA,
        copying=CopySpec(
            lock=CopyLockSpec(
                config_map="team-a-locks",
                file="web.uv.lock",
                index="https://nexus.example.org:8443/repository/pypi/simple",
                pythons=["3.12"],
                platforms=["manylinux_2_28_x86_64", "macosx_14_0_arm64"],
            ),
            target="https://pypiserver.team.svc/",
            source_secret="nexus",
            target_secret="publisher",
            only=["acme-*"],
            limit_rate="20M",
            schedule="17 3 * * *",
            time_zone="Europe/Vienna",
            libraries=None,
            image="images.example.org/copy:1",
            ca_config_map="company-ca",
            peers=[{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            env=[{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}],
        ),
        network_policy=RegistryNetworkPolicySpec(),
    ),
    "copying-of-a-bucket": PyPIServerSpec(
        copying=CopySpec(
            bucket=RemoteSpec(
                type="sftp",
                path="srv/pypi",
                options={"host": "files.example.org", "user": "pypi"},
                secret_options=["key_pem"],
                ca_config_map="company-ca",
            ),
        ),
        network_policy=RegistryNetworkPolicySpec(),
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
        upstream=PUBLIC,
        retention=RETENTION.replace(dry_run=False, action="yank"),
        network_policy=RegistryNetworkPolicySpec(),
        termination_grace_seconds=600,
    ),
}
