"""The spec of a registry: every field has an effect, and what cannot work is refused with field, value and reason."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from jsonschema import Draft7Validator

from cases import (
    ATTESTED,
    BACKUP,
    COPYING,
    DIRECTORY,
    EXTERNAL,
    HOST,
    LETSENCRYPT,
    OWN_CA,
    PUBLIC,
    RETENTION,
    STORE,
    TRUSTED,
)
from cdk8s_pypiserver import (
    AttestationsSpec,
    AttestedPublisherSpec,
    AuditSpec,
    AuthSpec,
    AvailabilitySpec,
    BackupAlertSpec,
    BackupSpec,
    CircleCIIdentitySpec,
    CleanupSpec,
    CopyLockSpec,
    CopySpec,
    DrillSpec,
    ExternalAuthSpec,
    FetchingSpec,
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
    PodOptionsSpec,
    ProbeSpec,
    PyPIServerSpec,
    RcloneSpec,
    ReadersSpec,
    RegistryIngressSpec,
    RegistryNamespaceSpec,
    RegistryNetworkPolicySpec,
    RegistryServiceSpec,
    RemoteSpec,
    Resources,
    RestoreSpec,
    RetentionRuleSpec,
    RetentionSpec,
    RolloutSpec,
    S3VolumeSpec,
    ServerSpec,
    ServiceAccountSpec,
    SharedVolumeSpec,
    Spec,
    SpecError,
    TrustedPublisherSpec,
    TrustedPublishingSpec,
    UpstreamCacheSpec,
    UpstreamIndexSpec,
    UpstreamSpec,
)
from cdk8s_pypiserver.schema.generation import schema_of
from manifests import synthesize

SHARED = PyPIServerSpec(
    storage=SharedVolumeSpec(), ingress=RegistryIngressSpec(host=HOST, tls=LETSENCRYPT), availability=AvailabilitySpec()
)
S3 = PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"))
READ = PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), readers=ReadersSpec())
LOCAL = PyPIServerSpec()
STORED = PyPIServerSpec(storage=STORE)
KEYED = PyPIServerSpec(
    storage=STORE.replace(remote=STORE.remote.replace(secret_options=["access_key_id", "secret_access_key"]))
)
STORED_APART = PyPIServerSpec(storage=STORE, network_policy=RegistryNetworkPolicySpec())
FIXED = PyPIServerSpec(storage=SharedVolumeSpec())
MONITORED = PyPIServerSpec(monitoring=MonitoringSpec())
BACKED_UP = PyPIServerSpec(monitoring=MonitoringSpec(backup=BackupAlertSpec(cron_job="backup")))
ISOLATED = PyPIServerSpec(
    ingress=RegistryIngressSpec(host=HOST), monitoring=MonitoringSpec(), network_policy=RegistryNetworkPolicySpec()
)
BALANCED = PyPIServerSpec(service=RegistryServiceSpec(type="LoadBalancer"))
CERTIFIED = PyPIServerSpec(gateway_tls=OWN_CA)
PUBLISHED = PyPIServerSpec(upstream=PUBLIC)
AGED = PyPIServerSpec(upstream=PUBLIC.replace(minimum_age_days=7))
REACHING = PyPIServerSpec(upstream=PUBLIC, network_policy=RegistryNetworkPolicySpec())
LISTED = PyPIServerSpec(ldap=DIRECTORY)
BY_SECRET = PyPIServerSpec(ldap=DIRECTORY.replace(ca_config_map=None, ca_secret="directory-ca"))
BY_THEMSELVES = PyPIServerSpec(ldap=DIRECTORY.replace(bind_dn=None, bind_template="$1@example.org"))
LISTED_APART = PyPIServerSpec(ldap=DIRECTORY, network_policy=RegistryNetworkPolicySpec())
REMOTE = RemoteSpec(
    type="s3",
    path="backups",
    options={"provider": "Other"},
    secret="keys",
    secret_options=["access_key_id", "secret_access_key"],
)
KEPT = PyPIServerSpec(backup=BackupSpec(remote=REMOTE))
KEPT_BEHIND_TLS = PyPIServerSpec(backup=BackupSpec(remote=REMOTE), gateway_tls=OWN_CA)
KEPT_ASIDE = PyPIServerSpec(backup=BackupSpec(claim="copies"))
KEPT_APART = KEPT.replace(network_policy=RegistryNetworkPolicySpec())

COPIED = PyPIServerSpec(copying=COPYING)
COPIED_BY_LOCK = PyPIServerSpec(
    copying=CopySpec(
        lock=CopyLockSpec(config_map="locks", file="uv.lock", pythons=["3.12"], platforms=["manylinux_2_28_x86_64"]),
        target="https://pypi.example.org/",
    )
)
COPIED_FROM_A_BUCKET = PyPIServerSpec(copying=CopySpec(bucket=REMOTE))
COPIED_APART = COPIED.replace(network_policy=RegistryNetworkPolicySpec())
COPIED_AT_NIGHT = COPIED.replace(copying=COPYING.replace(schedule="1 1 * * *"))

OUTSIDE = PyPIServerSpec(external_auth=EXTERNAL)
OUTSIDE_APART = OUTSIDE.replace(network_policy=RegistryNetworkPolicySpec())
OUTSIDE_ENCRYPTED = PyPIServerSpec(
    external_auth=EXTERNAL.replace(url="https://oauth2-proxy.auth.svc/oauth2/auth", ca_config_map="auth-ca")
)
VOUCHED_FOR = PyPIServerSpec(trusted_publishing=TRUSTED, network_policy=RegistryNetworkPolicySpec())
UUID = "7d6f8b1c-0000-4000-8000-000000000000"
SIGNED = PyPIServerSpec(attestations=ATTESTED, network_policy=RegistryNetworkPolicySpec())
SIGNED_BY_GITLAB, SIGNED_BY_GOOGLE, SIGNED_BY_CIRCLECI = (
    PyPIServerSpec(
        attestations=ATTESTED.replace(publishers=[AttestedPublisherSpec(projects=["acme-*"], identity=identity)])
    )
    for identity in (
        GitLabIdentitySpec(repository="acme/lib"),
        GoogleIdentitySpec(email="ci@acme.example"),
        CircleCIIdentitySpec(project_id=UUID, pipeline_definition_id=UUID),
    )
)
RULED = PyPIServerSpec(
    server=ServerSpec(allow_removal=True),
    permissions=PermissionsSpec(
        groups=[PermissionGroupSpec(name="core", users=["alice"])],
        rules=[PermissionRuleSpec(projects=["acme-*"], publish=["@core"])],
    ),
)
RULED_BY_DIRECTORY = PyPIServerSpec(
    ldap=DIRECTORY,
    permissions=PermissionsSpec(
        groups=[PermissionGroupSpec(name="core", directory="cn=core,ou=groups,dc=example,dc=org")],
        rules=[PermissionRuleSpec(projects=["acme-*"], publish=["@core"])],
    ),
)

RETAINED = PyPIServerSpec(server=ServerSpec(allow_removal=True), retention=RETENTION)
OF_DAYS = PyPIServerSpec(retention=RetentionSpec(rules=[RetentionRuleSpec(keep_days=90)]))
YANKING = PyPIServerSpec(retention=RETENTION.replace(action="yank"))
RETAINED_BEHIND_TLS = PyPIServerSpec(gateway_tls=OWN_CA, retention=RETENTION)

# Those of the fields of all containers.
OF_A_CONTAINER: dict[str, Any] = {
    "image_pull_policy": "Always",
    "env": [{"name": "PROXY", "valueFrom": {"configMapKeyRef": {"name": "proxies", "key": "https"}}}],
    "env_from": [{"secretRef": {"name": "site-settings"}}],
    "volume_mounts": [{"name": "packages", "mountPath": "/mnt/more", "readOnly": True}],
    "security_context": {"runAsUser": 4711, "seLinuxOptions": {"level": "s0:c1"}},
}
CONTAINERS = (
    (ServerSpec, LOCAL),
    (GatewaySpec, LOCAL),
    (MonitoringSpec, MONITORED),
    (UpstreamSpec, PUBLISHED),
    (RcloneSpec, STORED),
    (FetchingSpec, STORED),
    (LDAPSpec, LISTED),
    (AttestationsSpec, SIGNED),
)
A_CONTAINER = {
    "name": "mine",
    "image": "a:1",
    "securityContext": {"allowPrivilegeEscalation": True, "capabilities": {"drop": []}},
}

# For every field of every spec: a registry, and another value of the field in it.
OTHER_VALUES: dict[tuple[type[Spec], str], tuple[PyPIServerSpec, Any]] = {
    (PyPIServerSpec, "name"): (LOCAL, "other"),
    **{
        (container, field): (registry, value)
        for container, registry in CONTAINERS
        for field, value in OF_A_CONTAINER.items()
    },
    (ProbeSpec, "period_seconds"): (LOCAL, 77),
    (ProbeSpec, "timeout_seconds"): (LOCAL, 77),
    (ProbeSpec, "failure_threshold"): (LOCAL, 77),
    (ProbeSpec, "initial_delay_seconds"): (LOCAL, 77),
    (PodOptionsSpec, "node_selector"): (LOCAL, {"disk": "ssd"}),
    (PodOptionsSpec, "tolerations"): (LOCAL, [{"key": "example.org/batch", "operator": "Exists"}]),
    (PodOptionsSpec, "affinity"): (
        LOCAL,
        {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "example.org/rack"}]}},
    ),
    (PodOptionsSpec, "topology_spread_constraints"): (
        SHARED,
        [{"maxSkew": 2, "topologyKey": "example.org/rack", "whenUnsatisfiable": "DoNotSchedule"}],
    ),
    (PodOptionsSpec, "priority_class"): (LOCAL, "important"),
    (PodOptionsSpec, "runtime_class"): (LOCAL, "gvisor"),
    (PodOptionsSpec, "scheduler_name"): (LOCAL, "other-scheduler"),
    (PodOptionsSpec, "dns_policy"): (LOCAL, "Default"),
    (PodOptionsSpec, "dns_config"): (LOCAL, {"options": [{"name": "ndots", "value": "2"}]}),
    (PodOptionsSpec, "host_aliases"): (LOCAL, [{"ip": "192.0.2.1", "hostnames": ["ldap.example.org"]}]),
    (PodOptionsSpec, "image_pull_secrets"): (LOCAL, ["mirror"]),
    (PodOptionsSpec, "labels"): (LOCAL, {"example.org/team": "a"}),
    (PodOptionsSpec, "annotations"): (LOCAL, {"example.org/team": "b"}),
    (PodOptionsSpec, "containers"): (LOCAL, [A_CONTAINER]),
    (PodOptionsSpec, "init_containers"): (LOCAL, [A_CONTAINER]),
    (PodOptionsSpec, "volumes"): (LOCAL, [{"name": "mine", "configMap": {"name": "settings"}}]),
    (PodOptionsSpec, "security_context"): (LOCAL, {"supplementalGroups": [4712]}),
    (RolloutSpec, "max_surge"): (FIXED, "77%"),
    (RolloutSpec, "max_unavailable"): (FIXED, 77),
    (RolloutSpec, "revision_history_limit"): (LOCAL, 77),
    (RolloutSpec, "progress_deadline_seconds"): (LOCAL, 77),
    (RolloutSpec, "min_ready_seconds"): (LOCAL, 77),
    (ServiceAccountSpec, "existing"): (LOCAL, "other"),
    (ServiceAccountSpec, "annotations"): (LOCAL, {"example.org/role": "packages"}),
    (Resources, "ephemeral_storage_request"): (LOCAL, "7Gi"),
    (Resources, "ephemeral_storage_limit"): (LOCAL, "7Gi"),
    (PyPIServerSpec, "replicas"): (FIXED, 2),
    (PyPIServerSpec, "user_id"): (LOCAL, 1234),
    (PyPIServerSpec, "termination_grace_seconds"): (LOCAL, 60),
    (AuditSpec, "on_volume"): (PyPIServerSpec(audit=AuditSpec()), True),
    (ServerSpec, "image"): (LOCAL, "example.org/pypiserver:1"),
    (ServerSpec, "threads"): (LOCAL, 7),
    (ServerSpec, "allow_removal"): (LOCAL, True),
    (ServerSpec, "removed_names"): (LOCAL, "free"),
    (ServerSpec, "ready_timeout_seconds"): (LOCAL, 9),
    (ServerSpec, "temporary_size"): (LOCAL, "90Gi"),
    (GatewaySpec, "image"): (LOCAL, "example.org/nginx:1"),
    (GatewaySpec, "max_upload"): (LOCAL, "512Mi"),
    (GatewaySpec, "path_prefix"): (LOCAL, "/team-a/pypi"),
    (GatewaySpec, "temporary_size"): (LOCAL, "90Gi"),
    (GatewaySpec, "concurrent_uploads"): (LOCAL, 7),
    (GatewayTLSSpec, "secret"): (CERTIFIED, "other"),
    (GatewayCertificateSpec, "issuer"): (CERTIFIED, "other"),
    (GatewayCertificateSpec, "issuer_kind"): (CERTIFIED, "Issuer"),
    (GatewayCertificateSpec, "hosts"): (CERTIFIED, ["other.team.svc"]),
    (Resources, "cpu_request"): (LOCAL, "7m"),
    (Resources, "memory_request"): (LOCAL, "7Mi"),
    (Resources, "cpu_limit"): (LOCAL, "7"),
    (Resources, "memory_limit"): (LOCAL, "7Gi"),
    (AuthSpec, "secret"): (LOCAL, "other"),
    (AuthSpec, "anonymous_reads"): (LOCAL, True),
    (AuthSpec, "initial_password"): (LOCAL, True),
    (RegistryServiceSpec, "port"): (LOCAL, 8080),
    (GatewayTLSSpec, "port"): (CERTIFIED, 8443),
    (RegistryServiceSpec, "type"): (LOCAL, "NodePort"),
    (RegistryServiceSpec, "annotations"): (LOCAL, {"example.org/pool": "internal"}),
    (RegistryServiceSpec, "node_port"): (BALANCED, 30080),
    (RegistryServiceSpec, "load_balancer_class"): (BALANCED, "example.org/internal"),
    (RegistryServiceSpec, "load_balancer_ip"): (BALANCED, "192.0.2.1"),
    (RegistryServiceSpec, "allocate_load_balancer_node_ports"): (BALANCED, False),
    (GatewayTLSSpec, "node_port"): (CERTIFIED.replace(service=RegistryServiceSpec(type="NodePort")), 30443),
    (RegistryServiceSpec, "load_balancer_source_ranges"): (BALANCED, ["192.0.2.0/24"]),
    (RegistryServiceSpec, "external_traffic_policy"): (BALANCED, "Local"),
    (RegistryServiceSpec, "internal_traffic_policy"): (LOCAL, "Local"),
    (RegistryServiceSpec, "ip_family_policy"): (LOCAL, "PreferDualStack"),
    (RegistryServiceSpec, "ip_families"): (LOCAL, ["IPv6"]),
    (RegistryIngressSpec, "further_hosts"): (SHARED, ["other.example.org"]),
    (RegistryIngressSpec, "annotations"): (SHARED, {"example.org/zone": "internal"}),
    (RegistryNetworkPolicySpec, "clients"): (ISOLATED, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (RegistryIngressSpec, "controllers"): (ISOLATED, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (MonitoringSpec, "scrapers"): (ISOLATED, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (ServerSpec, "arguments"): (LOCAL, ["--keep-alive", "5"]),
    (ServerSpec, "log_level"): (LOCAL, "debug"),
    (GatewaySpec, "trusted_proxies"): (LOCAL, ["192.0.2.1"]),
    (GatewaySpec, "log_level"): (LOCAL, "info"),
    (LocalVolumeSpec, "access_mode"): (LOCAL, "ReadWriteOncePod"),
    **{
        (mode, field): (registry, value)
        for mode, registry in ((LocalVolumeSpec, LOCAL), (SharedVolumeSpec, SHARED), (S3VolumeSpec, S3))
        for field, value in (
            ("existing_claim", "other"),
            ("identity", "7d6f8b1c-0000-4000-8000-000000000000"),
            ("claim_annotations", {"example.org/backup": "daily"}),
            ("claim_labels", {"example.org/backup": "daily"}),
        )
    },
    (ObjectStoreSpec, "folder"): (STORED, "other/folder"),
    (ObjectStoreSpec, "size"): (STORED, "77Gi"),
    (ObjectStoreSpec, "existing_claim"): (STORED, "other"),
    (ObjectStoreSpec, "identity"): (STORED, "7d6f8b1c-0000-4000-8000-000000000000"),
    (ObjectStoreSpec, "rescan_seconds"): (STORED, 777),
    (ObjectStoreSpec, "poll_seconds"): (STORED, 7),
    (ObjectStoreSpec, "parts_max_age"): (STORED, "8d"),
    (RcloneSpec, "image"): (STORED, "example.org/rclone:1"),
    (RcloneSpec, "log_level"): (STORED, "DEBUG"),
    (FetchingSpec, "log_level"): (STORED, "debug"),
    (RemoteSpec, "type"): (STORED, "b2"),
    (RemoteSpec, "path"): (STORED, "other/place"),
    (RemoteSpec, "options"): (STORED, {"provider": "Ceph"}),
    (RemoteSpec, "secret"): (KEYED, "other"),
    (RemoteSpec, "secret_options"): (STORED, ["session_token"]),
    (RemoteSpec, "ca_config_map"): (STORED, "company-ca"),
    (RemoteSpec, "peers"): (STORED_APART, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (RemoteSpec, "ports"): (STORED_APART, [7777]),
    (S3VolumeSpec, "driver"): (S3, "csi.example.org"),
    (S3VolumeSpec, "mount_options"): (S3, ["--no-checksum"]),
    (S3VolumeSpec, "poll_seconds"): (S3, 7),
    (CleanupSpec, "schedule"): (S3, "7 7 7 7 *"),
    (CleanupSpec, "max_age"): (S3, "8d"),
    (CleanupSpec, "image"): (S3, "example.org/rclone:1"),
    (S3VolumeSpec, "rescan_seconds"): (S3, 777),
    (RegistryIngressSpec, "host"): (SHARED, "other.example.org"),
    (RegistryIngressSpec, "class_name"): (SHARED, "traefik"),
    (IngressTLSSpec, "secret"): (SHARED, "other"),
    (IngressCertificateSpec, "issuer"): (SHARED, "other"),
    (IngressCertificateSpec, "issuer_kind"): (SHARED, "Issuer"),
    (IngressCertificateSpec, "object"): (SHARED, True),
    (MonitoringSpec, "image"): (MONITORED, "example.org/mtail:1"),
    (MonitoringSpec, "scrape"): (MONITORED, "pod-monitor"),
    (MonitoringSpec, "interval_seconds"): (MONITORED, 7),
    (MonitoringSpec, "object_labels"): (MONITORED, {"release": "monitoring"}),
    (MonitoringSpec, "rules"): (MONITORED, False),
    (MonitoringSpec, "certificate"): (MONITORED, "wildcard"),
    (MonitoringSpec, "dashboard"): (MONITORED, False),
    (BackupAlertSpec, "cron_job"): (BACKED_UP, "other"),
    (BackupAlertSpec, "max_age"): (BACKED_UP, "8d"),
    **{
        (scaled, field): (registry, value)
        for scaled, registry in ((AvailabilitySpec, SHARED), (ReadersSpec, READ))
        for field, value in (
            ("min_replicas", 3),
            ("max_replicas", 9),
            ("cpu_percent", 50),
            ("cpu_use", "777m"),
            ("memory_use", "777Mi"),
            ("behavior", {"scaleDown": {"stabilizationWindowSeconds": 777}}),
            ("max_unavailable", "77%"),
        )
    },
    (ReadersSpec, "min_available"): (READ.replace(readers=ReadersSpec(min_replicas=4)), 2),
    (AvailabilitySpec, "min_available"): (
        PyPIServerSpec(storage=SharedVolumeSpec(), availability=AvailabilitySpec(min_replicas=4)),
        2,
    ),
    (LDAPSpec, "image"): (LISTED, "example.org/httpd:1"),
    (LDAPSpec, "servers"): (LISTED, ["one.example.org", "two.example.org:7636"]),
    (LDAPSpec, "security"): (LISTED, "starttls"),
    (LDAPSpec, "ca_config_map"): (LISTED, "company-ca"),
    (LDAPSpec, "ca_secret"): (BY_SECRET, "company-ca"),
    (LDAPSpec, "base"): (LISTED, "ou=others,dc=example,dc=org"),
    (LDAPSpec, "user_attribute"): (LISTED, "sAMAccountName"),
    (LDAPSpec, "user_filter"): (LISTED, "(objectClass=person)"),
    (LDAPSpec, "bind_dn"): (LISTED, "cn=other,dc=example,dc=org"),
    (LDAPSpec, "bind_secret"): (LISTED, "other"),
    (LDAPSpec, "bind_template"): (BY_THEMSELVES, "uid=$1,ou=others"),
    (LDAPSpec, "readers"): (LISTED, ["cn=others,dc=example,dc=org"]),
    (LDAPSpec, "everybody_reads"): (PyPIServerSpec(ldap=DIRECTORY.replace(readers=[])), True),
    (LDAPSpec, "publishers"): (LISTED, ["cn=others,dc=example,dc=org"]),
    (LDAPSpec, "membership"): (LISTED, "in-chain"),
    (LDAPSpec, "group_attribute"): (LISTED, "uniqueMember"),
    (LDAPSpec, "nested_groups"): (LISTED, 7),
    (LDAPSpec, "seconds"): (LISTED, 777),
    (LDAPSpec, "guesses"): (LISTED, 7),
    (LDAPSpec, "connect_seconds"): (LISTED, 3),
    (LDAPSpec, "answer_seconds"): (LISTED, 7),
    (LDAPSpec, "peers"): (LISTED_APART, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (UpstreamIndexSpec, "name"): (PUBLISHED, "other"),
    (UpstreamIndexSpec, "url"): (PUBLISHED, "https://other.example.org:8443/simple/"),
    (UpstreamIndexSpec, "file_hosts"): (PUBLISHED, ["files.example.org"]),
    (UpstreamIndexSpec, "credentials_secret"): (PUBLISHED, "index-user"),
    (UpstreamIndexSpec, "ca_config_map"): (PUBLISHED, "company-ca"),
    (UpstreamIndexSpec, "ca_secret"): (PUBLISHED, "company-ca"),
    (UpstreamSpec, "private_names"): (PUBLISHED, ["acme-*"]),
    (UpstreamSpec, "merge"): (PUBLISHED, ["torch"]),
    (UpstreamSpec, "shadowing"): (PUBLISHED, "allowed"),
    (UpstreamSpec, "minimum_age_days"): (PUBLISHED, 77),
    (UpstreamSpec, "no_minimum_age"): (AGED, ["acme-*"]),
    (UpstreamSpec, "allow"): (PUBLISHED, ["requests", "django>=4,<5"]),
    (UpstreamSpec, "deny"): (PUBLISHED, ["torch<2"]),
    (UpstreamSpec, "page_seconds"): (PUBLISHED, 77),
    (UpstreamSpec, "proxy"): (PUBLISHED, "http://proxy.example.org:3128"),
    (UpstreamSpec, "peers"): (REACHING, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (UpstreamSpec, "log_level"): (PUBLISHED, "debug"),
    (UpstreamCacheSpec, "size"): (PUBLISHED, "77Gi"),
    (UpstreamCacheSpec, "existing_claim"): (PUBLISHED, "other"),
    (ExternalAuthSpec, "url"): (OUTSIDE, "http://other.auth.svc/auth"),
    (ExternalAuthSpec, "ca_config_map"): (OUTSIDE_ENCRYPTED, "other-ca"),
    (ExternalAuthSpec, "user_header"): (OUTSIDE, "Remote-User"),
    (ExternalAuthSpec, "groups_header"): (OUTSIDE, "Remote-Groups"),
    (ExternalAuthSpec, "original_url"): (OUTSIDE, "https://pypi.example.org/"),
    (ExternalAuthSpec, "readers"): (OUTSIDE, ["everybody else"]),
    (ExternalAuthSpec, "everybody_reads"): (PyPIServerSpec(external_auth=EXTERNAL.replace(readers=[])), True),
    (ExternalAuthSpec, "publishers"): (OUTSIDE, ["a few"]),
    (ExternalAuthSpec, "seconds"): (OUTSIDE, 777),
    (ExternalAuthSpec, "guesses"): (OUTSIDE, 7),
    (ExternalAuthSpec, "ports"): (OUTSIDE_APART, [7180]),
    (ExternalAuthSpec, "peers"): (OUTSIDE_APART, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (AttestationsSpec, "trust_root_config_map"): (SIGNED, "sigstore"),
    (AttestationsSpec, "libraries"): (SIGNED, "https://mirror.example.org/simple/"),
    (AttestationsSpec, "image"): (SIGNED, "example.org/python:1"),
    (AttestationsSpec, "ca_config_map"): (SIGNED, "company-ca"),
    (AttestationsSpec, "peers"): (SIGNED, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (AttestationsSpec, "log_level"): (SIGNED, "warning"),
    (AttestedPublisherSpec, "projects"): (SIGNED, ["only-this"]),
    (AttestedPublisherSpec, "required"): (SIGNED, False),
    (GitHubIdentitySpec, "repository"): (SIGNED, "acme/other"),
    (GitHubIdentitySpec, "workflow"): (SIGNED, "other.yaml"),
    (GitLabIdentitySpec, "repository"): (SIGNED_BY_GITLAB, "acme/team/other"),
    (GitLabIdentitySpec, "workflow_filepath"): (SIGNED_BY_GITLAB, "ci/other.yml"),
    (GoogleIdentitySpec, "email"): (SIGNED_BY_GOOGLE, "other@acme.example"),
    (CircleCIIdentitySpec, "project_id"): (SIGNED_BY_CIRCLECI, UUID.replace("7", "8")),
    (CircleCIIdentitySpec, "pipeline_definition_id"): (SIGNED_BY_CIRCLECI, UUID.replace("7", "9")),
    (CircleCIIdentitySpec, "vcs_origin"): (SIGNED_BY_CIRCLECI, "github.com/acme/other"),
    (CircleCIIdentitySpec, "vcs_ref"): (SIGNED_BY_CIRCLECI, "refs/tags/v1"),
    (TrustedPublishingSpec, "audience"): (VOUCHED_FOR, "registry-of-a-company"),
    (TrustedPublishingSpec, "verifier"): (VOUCHED_FOR, "http://verifier.auth.svc/auth"),
    (TrustedPublishingSpec, "ports"): (VOUCHED_FOR, [8443]),
    (TrustedPublishingSpec, "peers"): (VOUCHED_FOR, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (TrustedPublisherSpec, "name"): (VOUCHED_FOR, "team-b"),
    (TrustedPublisherSpec, "issuer"): (VOUCHED_FOR, "https://token.actions.githubusercontent.com"),
    (TrustedPublisherSpec, "claims"): (VOUCHED_FOR, {"sub": "repo:team-a/lib"}),
    (TrustedPublisherSpec, "projects"): (VOUCHED_FOR, ["only-this"]),
    (PermissionGroupSpec, "users"): (RULED, ["bob"]),
    (PermissionGroupSpec, "directory"): (RULED_BY_DIRECTORY, "cn=other,dc=example,dc=org"),
    (PermissionRuleSpec, "projects"): (RULED, ["acme-*", "tools"]),
    (PermissionRuleSpec, "excluding"): (RULED, ["acme-data"]),
    (PermissionRuleSpec, "read"): (RULED, ["bob"]),
    (PermissionRuleSpec, "publish"): (RULED, ["@core", "bob"]),
    (PermissionRuleSpec, "create"): (RULED, ["*"]),
    (PermissionRuleSpec, "yank"): (RULED, ["token:ci"]),
    (PermissionRuleSpec, "remove"): (RULED, ["*"]),
    (RetentionRuleSpec, "projects"): (RETAINED, ["acme-*", "tools"]),
    (RetentionRuleSpec, "keep_versions"): (RETAINED, 77),
    (RetentionRuleSpec, "keep_days"): (RETAINED, 77),
    (RetentionRuleSpec, "keep_prereleases"): (RETAINED, 77),
    (RetentionRuleSpec, "final_replaces_prereleases"): (RETAINED, False),
    (RetentionRuleSpec, "keep_last"): (OF_DAYS, False),
    (RetentionSpec, "dry_run"): (RETAINED, False),
    (RetentionSpec, "action"): (RETAINED, "yank"),
    (RetentionSpec, "yank_reason"): (YANKING, "too old"),
    (RetentionSpec, "pinned"): (RETAINED, ["acme-base", "acme-*==1.*"]),
    (RetentionSpec, "lock_config_maps"): (RETAINED, ["team-a-locks"]),
    (RetentionSpec, "minimum_age_days"): (RETAINED, 77),
    (RetentionSpec, "most_versions"): (RETAINED, 77),
    (RetentionSpec, "most_percent"): (RETAINED, 77),
    (RetentionSpec, "schedule"): (RETAINED, "17 4 * * MON-FRI"),
    (RetentionSpec, "time_zone"): (RETAINED, "Europe/Vienna"),
    (RetentionSpec, "max_age"): (RETAINED, "9d"),
    (RetentionSpec, "credentials_secret"): (RETAINED, "other"),
    (RetentionSpec, "tls_name"): (RETAINED_BEHIND_TLS, "pypi.example.org"),
    (RetentionSpec, "ca_config_map"): (RETAINED_BEHIND_TLS, "company-ca"),
    (RetentionSpec, "patience_seconds"): (RETAINED, 77),
    (BackupSpec, "claim"): (KEPT_ASIDE, "other"),
    (BackupSpec, "encryption_secret"): (KEPT, "passwords"),
    (BackupSpec, "schedule"): (KEPT, "7 7 7 7 *"),
    (BackupSpec, "time_zone"): (KEPT, "Europe/Vienna"),
    (BackupSpec, "keep"): (KEPT, 77),
    (BackupSpec, "prune"): (KEPT, True),
    (BackupSpec, "most_lost_percent"): (KEPT, 77),
    (BackupSpec, "accepted"): (KEPT, "20260101T000000Z"),
    (BackupSpec, "bandwidth"): (KEPT, "77M"),
    (BackupSpec, "max_age"): (KEPT, "8d"),
    (BackupSpec, "retries"): (KEPT, 7),
    (BackupSpec, "deadline_seconds"): (KEPT, 777),
    (BackupSpec, "image"): (KEPT, "example.org/rclone:1"),
    (BackupSpec, "env"): (KEPT, [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}]),
    (CopyLockSpec, "config_map"): (COPIED_BY_LOCK, "other"),
    (CopyLockSpec, "file"): (COPIED_BY_LOCK, "web.poetry.lock"),
    (CopyLockSpec, "index"): (COPIED_BY_LOCK, "https://index.example.org/simple/"),
    (CopyLockSpec, "pythons"): (COPIED_BY_LOCK, ["3.14"]),
    (CopyLockSpec, "platforms"): (COPIED_BY_LOCK, ["macosx_14_0_arm64", "win_amd64"]),
    (CopySpec, "source"): (COPIED, "https://devpi.example.org/root/prod/+simple/"),
    (CopySpec, "target"): (COPIED, "https://pypi.example.org/"),
    (CopySpec, "target_index"): (COPIED_BY_LOCK, "https://pypi.example.org/+simple/"),
    (CopySpec, "source_secret"): (COPIED, "other"),
    (CopySpec, "target_secret"): (COPIED, "other"),
    (CopySpec, "only"): (COPIED, ["acme-*", "tools"]),
    (CopySpec, "jobs"): (COPIED, 77),
    (CopySpec, "limit_rate"): (COPIED, "77M"),
    (CopySpec, "dry_run"): (COPIED, True),
    (CopySpec, "schedule"): (COPIED, "7 7 7 7 *"),
    (CopySpec, "time_zone"): (COPIED_AT_NIGHT, "Europe/Vienna"),
    (CopySpec, "retries"): (COPIED, 7),
    (CopySpec, "deadline_seconds"): (COPIED, 777),
    (CopySpec, "work_size"): (COPIED, "77Gi"),
    (CopySpec, "libraries"): (COPIED, "https://mirror.example.org/simple/"),
    (CopySpec, "image"): (COPIED, "example.org/python:1"),
    (CopySpec, "rclone_image"): (COPIED_FROM_A_BUCKET, "example.org/rclone:1"),
    (CopySpec, "ca_config_map"): (COPIED, "company-ca"),
    (CopySpec, "peers"): (COPIED_APART, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (CopySpec, "env"): (COPIED, [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}]),
    (RestoreSpec, "as_of"): (KEPT, "2026-01-02"),
    (RestoreSpec, "dry_run"): (KEPT, False),
    (RestoreSpec, "differing"): (KEPT, "keep"),
    (RestoreSpec, "incomplete"): (KEPT, True),
    (DrillSpec, "schedule"): (KEPT, "7 7 7 7 *"),
    (DrillSpec, "scratch_size"): (KEPT, "77Gi"),
    (DrillSpec, "scratch_storage_class"): (KEPT, "fast"),
    (DrillSpec, "credentials_secret"): (KEPT, "reader"),
    (DrillSpec, "url"): (KEPT, "https://pypi.example.org/simple/"),
    (DrillSpec, "tls_name"): (KEPT_BEHIND_TLS, "pypi.example.org"),
    (DrillSpec, "ca_config_map"): (KEPT, "company-ca"),
    (DrillSpec, "max_age"): (KEPT, "9d"),
    (DrillSpec, "deadline_seconds"): (KEPT, 777),
    (LocalVolumeSpec, "size"): (LOCAL, "7Gi"),
    (LocalVolumeSpec, "storage_class"): (LOCAL, "fast"),
    (SharedVolumeSpec, "size"): (SHARED, "7Gi"),
    (SharedVolumeSpec, "storage_class"): (SHARED, "nfs"),
    (SharedVolumeSpec, "rescan_seconds"): (SHARED, 7),
    (S3VolumeSpec, "bucket"): (S3, "others"),
    (S3VolumeSpec, "prefix"): (S3, "other/prefix"),
    (S3VolumeSpec, "provisioning"): (S3, "dynamic"),
    (S3VolumeSpec, "size"): (S3, "7Gi"),
    (S3VolumeSpec, "secret"): (S3, "other"),
    (S3VolumeSpec, "namespace"): (S3, "other"),
    (S3VolumeSpec, "mount_memory"): (S3, 700),
}

# Where the manifests say a value in other words.
SHOWN_AS: dict[tuple[type[Spec], str], str] = {
    # The kubelet makes `$` of it.
    (LDAPSpec, "bind_template"): "uid=$$1,ou=others",
    (PodOptionsSpec, "topology_spread_constraints"): "example.org/rack",
    (ServerSpec, "allow_removal"): "yes",
    (AuditSpec, "on_volume"): "volume",
    (BackupAlertSpec, "max_age"): "691200",
    (RemoteSpec, "options"): "Ceph",
    (RemoteSpec, "peers"): "192.0.2.0/24",
    (BackupSpec, "prune"): "yes",
    (BackupSpec, "max_age"): "691200",
    (ObjectStoreSpec, "parts_max_age"): "691200",
    (CopySpec, "dry_run"): "yes",
    (CopySpec, "peers"): "192.0.2.0/24",
    (RestoreSpec, "dry_run"): "no",
    (RestoreSpec, "incomplete"): "yes",
    (DrillSpec, "url"): "https://pypi.example.org",
    (DrillSpec, "max_age"): "777600",
    (AuthSpec, "anonymous_reads"): "needs no credentials",
    (AuthSpec, "initial_password"): "yes",
    (IngressCertificateSpec, "issuer_kind"): "cert-manager.io/issuer",
    (IngressCertificateSpec, "object"): "Certificate",
    (MonitoringSpec, "scrape"): "PodMonitor",
    (UpstreamSpec, "peers"): "192.0.2.0/24",
    (LDAPSpec, "servers"): "one.example.org two.example.org:7636",
    (LDAPSpec, "peers"): "192.0.2.0/24",
    (LDAPSpec, "everybody_reads"): "*",
    (ExternalAuthSpec, "everybody_reads"): "*",
    (ExternalAuthSpec, "peers"): "192.0.2.0/24",
    (TrustedPublishingSpec, "peers"): "192.0.2.0/24",
    (AttestationsSpec, "peers"): "192.0.2.0/24",
    (AttestedPublisherSpec, "required"): "false",
    (TrustedPublisherSpec, "claims"): "repo:team-a/lib",
    (RetentionRuleSpec, "final_replaces_prereleases"): "false",
    (RetentionRuleSpec, "keep_last"): "false",
    (RetentionSpec, "dry_run"): "false",
    (RetentionSpec, "max_age"): "777600",
    (S3VolumeSpec, "provisioning"): "StorageClass",
}
# What these make is left out.
TAKEN_AWAY: dict[tuple[type[Spec], str], str] = {
    (MonitoringSpec, "rules"): "PrometheusRule",
    (MonitoringSpec, "dashboard"): "pypiserver-dashboard",
}


def _texts(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], str]]:
    """Yield every key and scalar with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, (*path, number))
    else:
        yield (*path, None), str(value)


def _shows(texts: set[tuple[tuple[object, ...], str]], value: object) -> bool:
    if isinstance(value, dict):
        return all(_shows(texts, part) for item in value.items() for part in item)
    if isinstance(value, list):
        return all(_shows(texts, part) for part in value)
    return any(re.search(rf"(?<![\w.]){re.escape(str(value))}(?!\d)", text) for _, text in texts)


def _specs(model: type[Spec]) -> Iterator[type[Spec]]:
    """Yield those that others do not extend."""
    extensions = [each for each in model.__subclasses__() if each.__module__.startswith("cdk8s_pypiserver.")]
    for extension in extensions:
        yield from _specs(extension)
    if not extensions and model is not RegistryNamespaceSpec:
        yield model


def _fields() -> set[tuple[type[Spec], str]]:
    """Return every field with a value of its own: not those that hold another spec, nor the storage mode's tag."""
    return {
        (model, name)
        for model in _specs(Spec)
        for name, field in model.model_fields.items()
        if "Spec" not in str(field.annotation)
        and field.annotation is not Resources
        and name != "kind"
        # These go with another address: tests/upstream/test_construct.py and tests/base/test_remote.py have both.
        and (model, name) not in {(UpstreamIndexSpec, "plain_http"), (RemoteSpec, "plain_http")}
        # Rules go by it: tests/access/test_permissions.py has both.
        and (model, name) != (PermissionGroupSpec, "name")
        # One value alone.
        and (model, name) not in {(SharedVolumeSpec, "access_mode"), (S3VolumeSpec, "access_mode")}
    }


def test_every_field_is_tried() -> None:
    assert _fields() == set(OTHER_VALUES)


def _with(spec: Spec, model: type[Spec], name: str, value: object) -> Spec:
    """Return the spec with the value in the first place where the model stands."""
    if type(spec) is model:
        return type(spec)(**{**{field: getattr(spec, field) for field in type(spec).model_fields}, name: value})
    for field in type(spec).model_fields:
        inner = getattr(spec, field)
        if isinstance(inner, tuple) and inner and isinstance(inner[0], Spec):
            first, *others = inner
            changed: Any = _with(first, model, name, value)
            if changed is not first:
                return _with(spec, type(spec), field, [changed, *others])
        if isinstance(inner, Spec):
            changed = _with(inner, model, name, value)
            if changed is not inner:
                return _with(spec, type(spec), field, changed)
    return spec


@pytest.mark.parametrize(("model", "name"), OTHER_VALUES, ids=lambda part: getattr(part, "__name__", part))
def test_every_field_reaches_the_manifests(model: type[Spec], name: str) -> None:
    spec, value = OTHER_VALUES[model, name]
    changed = _with(spec, model, name, value)
    assert isinstance(changed, PyPIServerSpec)
    before, after = (set(_texts(synthesize(each))) for each in (spec, changed))
    if taken := TAKEN_AWAY.get((model, name)):
        assert _shows(before - after, taken)
        assert not _shows(after, taken)
    else:
        assert _shows(after - before, SHOWN_AS.get((model, name), value))


def test_every_field_is_described() -> None:
    missing = [(model.__name__, name) for model, name in _fields() if not model.model_fields[name].description]
    assert missing == []


# For every field that is neither a switch nor a choice: a value that cannot work, and the reason.
WRONG_VALUES: dict[tuple[type[Spec], str], tuple[Any, str]] = {
    **{
        (container, field): wrong
        for container, _ in CONTAINERS
        for field, wrong in {
            "env": ([{"name": "A", "valeu": "b"}], "is no field here; did you mean value?"),
            "env_from": ([{"secretRef": "users"}], "must be a mapping"),
            "volume_mounts": ([{"name": "a", "mountPath": True}], "must be text"),
            "security_context": ({"runAsUser": "root"}, "must be a whole number"),
        }.items()
    },
    (ProbeSpec, "period_seconds"): (0, "must be at least 1"),
    (ProbeSpec, "timeout_seconds"): (86401, "must be at most 86400"),
    (ProbeSpec, "failure_threshold"): (0, "must be at least 1"),
    (ProbeSpec, "initial_delay_seconds"): (-1, "must be at least 0"),
    (PodOptionsSpec, "node_selector"): ({"disk": "a b"}, "must be letters, digits"),
    (PodOptionsSpec, "tolerations"): ([{"tolerationSeconds": "5"}], "must be a whole number"),
    (PodOptionsSpec, "affinity"): ({"nodeAffinity": {"requiredX": 1}}, "is no field here; there are preferredDuring"),
    (PodOptionsSpec, "topology_spread_constraints"): (
        [{"maxSkew": 1, "topologyKey": "zone"}],
        "is missing",
    ),
    (PodOptionsSpec, "priority_class"): ("Important", "must be a name of lower-case letters"),
    (PodOptionsSpec, "runtime_class"): ("a_b", "must be a name of lower-case letters"),
    (PodOptionsSpec, "scheduler_name"): ("", "must not be empty"),
    (PodOptionsSpec, "dns_config"): ({"nameservers": "192.0.2.1"}, "must be a list"),
    (PodOptionsSpec, "host_aliases"): ([{"ip": 1}], "must be text"),
    (PodOptionsSpec, "image_pull_secrets"): (["a/b"], "must be a name of lower-case letters"),
    (PodOptionsSpec, "labels"): ({"app.kubernetes.io/instance": "b"}, "the objects find each other by it"),
    (PodOptionsSpec, "annotations"): ({"a b": "c"}, "must be an annotation key"),
    (PodOptionsSpec, "containers"): ([{"image": "a"}], "is missing"),
    (PodOptionsSpec, "init_containers"): (
        [{"name": "a", "restartPolicy": "Always"}],
        "is not in Kubernetes 1.25, the oldest that is supported; on a later one",
    ),
    (PodOptionsSpec, "volumes"): ([{"name": "a", "emptyDir": {"size": "1Mi"}}], "did you mean sizeLimit?"),
    (PodOptionsSpec, "security_context"): ({"fsGroup": None, "runAsUser": 0.5}, "must be a whole number"),
    (RolloutSpec, "max_surge"): ("101%", "must be a percentage such as 50%"),
    (RolloutSpec, "max_unavailable"): (1001, "must be at most 1000"),
    (RolloutSpec, "revision_history_limit"): (-1, "must be at least 0"),
    (RolloutSpec, "progress_deadline_seconds"): (0, "must be at least 1"),
    (RolloutSpec, "min_ready_seconds"): (-1, "must be at least 0"),
    (ServiceAccountSpec, "existing"): ("a_b", "must be a name of lower-case letters"),
    (ServiceAccountSpec, "annotations"): ({"a b": "c"}, "must be an annotation key"),
    (Resources, "ephemeral_storage_request"): ("512m", "is 512Mi meant?"),
    (Resources, "ephemeral_storage_limit"): ("4", "must be at least 1Mi"),
    (PyPIServerSpec, "name"): ("4711-pypi", "must begin with a letter, as the name of a Service has to"),
    (PyPIServerSpec, "replicas"): (10**9, "must be at most 1000"),
    (PyPIServerSpec, "user_id"): (2**31, "must be at most 2147483647"),
    (PyPIServerSpec, "termination_grace_seconds"): (29, "must be at least 30"),
    (LDAPSpec, "image"): ("", "must not be empty: it must be an image"),
    (LDAPSpec, "servers"): (["ldaps://ldap.example.org"], "must be a host without a scheme"),
    (LDAPSpec, "ca_config_map"): ("My_CA", "must be a name of lower-case letters"),
    (LDAPSpec, "ca_secret"): ("My_CA", "must be a name of lower-case letters"),
    (LDAPSpec, "base"): ("example.org", "must be a distinguished name such as cn=pypi"),
    (LDAPSpec, "user_attribute"): ("uid)", "must be the name of an attribute such as uid"),
    (LDAPSpec, "user_filter"): ("(&(a=b)(c=d)", "must have as many ( as )"),
    (LDAPSpec, "bind_dn"): ("cn=${X},dc=org", "must not hold ${, which httpd takes for its own"),
    (LDAPSpec, "bind_secret"): ("My_Secret", "must be a name of lower-case letters"),
    (LDAPSpec, "bind_template"): ("uid=%s,dc=org", "must have $1 once"),
    (LDAPSpec, "readers"): (["pypi-readers"], "must be a distinguished name such as cn=pypi"),
    (LDAPSpec, "publishers"): (['cn="a",dc=org'], 'must not hold "'),
    (LDAPSpec, "group_attribute"): ("", "must not be empty"),
    (LDAPSpec, "nested_groups"): (21, "must be at most 20"),
    (LDAPSpec, "seconds"): (4, "must be at least 5"),
    (LDAPSpec, "guesses"): (0, "must be at least 1"),
    (LDAPSpec, "connect_seconds"): (9, "must be at most 8"),
    (LDAPSpec, "answer_seconds"): (0, "must be at least 1"),
    (LDAPSpec, "peers"): ([], "must have at least 1, has 0"),
    (ServerSpec, "image"): ("", "must not be empty: it must be an image"),
    (ServerSpec, "threads"): (257, "must be at most 256"),
    (ServerSpec, "ready_timeout_seconds"): (0, "must be at least 1"),
    (ServerSpec, "arguments"): (["", "a"], "must not be empty"),
    (ServerSpec, "temporary_size"): ("20m", "is 20Mi meant?"),
    (GatewaySpec, "image"): ("docker.io/Nginx:1", "must be an image such as"),
    (GatewaySpec, "max_upload"): ("500m", "is 500Mi meant?"),
    (GatewaySpec, "concurrent_uploads"): (-1, "must be at least 1"),
    (GatewaySpec, "path_prefix"): ("/simple", "must not begin with /simple, which the registry itself has"),
    (GatewaySpec, "temporary_size"): ("4", "must be at least 1Mi, is 4 bytes"),
    (GatewaySpec, "trusted_proxies"): (["10.0.0.1/8"], "has bits beyond its mask: is 10.0.0.0/8 meant?"),
    (GatewayTLSSpec, "port"): (0, "must be at least 1"),
    (GatewayTLSSpec, "secret"): ("My_Secret", "must be a name of lower-case letters"),
    (GatewayCertificateSpec, "issuer"): ("", "must not be empty"),
    (GatewayCertificateSpec, "hosts"): ([], "must have at least 1, has 0"),
    (Resources, "cpu_request"): ("100Mi", "must be cores such as 2, 0.5 or 250m"),
    (Resources, "memory_request"): ("512m", "is 512Mi meant?"),
    (Resources, "cpu_limit"): ("٢", "must be cores such as 2, 0.5 or 250m"),
    (Resources, "memory_limit"): ("٥١٢Mi", "must be an amount of bytes"),  # noqa: RUF001 - Arabic digits
    (AuthSpec, "secret"): ("users/team", "must be a name of lower-case letters"),
    (RegistryServiceSpec, "port"): (65536, "must be at most 65535"),
    (RegistryServiceSpec, "node_port"): (-1, "must be at least 1"),
    (RegistryServiceSpec, "annotations"): ({"a b": "c"}, "must be an annotation key"),
    (RegistryServiceSpec, "load_balancer_class"): ("a b", "must be a name such as"),
    (RegistryServiceSpec, "load_balancer_ip"): ("192.0.2.0/24", "must be an address such as"),
    (RegistryServiceSpec, "allocate_load_balancer_node_ports"): ("no", "must be true or false"),
    (GatewayTLSSpec, "node_port"): (0, "must be at least 1"),
    (RegistryServiceSpec, "load_balancer_source_ranges"): (["192.0.2.1"], "must be a network (CIDR)"),
    (RegistryServiceSpec, "ip_families"): (["IPv5"], "must be 'IPv4' or 'IPv6'"),
    (RegistryIngressSpec, "host"): ("10.0.0.1", "must be a name, not an address"),
    (RegistryIngressSpec, "further_hosts"): (["*.example.org"], "must be one name, not a wildcard"),
    (RegistryIngressSpec, "class_name"): ("Nginx", "must be a name of lower-case letters"),
    (RegistryIngressSpec, "annotations"): ({"a": 1}, "must be text"),
    (RegistryNetworkPolicySpec, "clients"): (
        [{"podSelecter": {}}],
        "must have podSelector, namespaceSelector or both, or ipBlock",
    ),
    (RegistryIngressSpec, "controllers"): ([{}], "must have podSelector, namespaceSelector or both, or ipBlock"),
    (MonitoringSpec, "scrapers"): ([{"ipBlock": {}, "podSelector": {}}], "must have nothing beside ipBlock"),
    (IngressTLSSpec, "secret"): (" tls", "must not begin or end with white space"),
    (IngressCertificateSpec, "issuer"): ("a..b", "must be a name of lower-case letters"),
    (MonitoringSpec, "image"): ("mtail:", "must be an image such as"),
    (MonitoringSpec, "interval_seconds"): (301, "must be at most 300"),
    (MonitoringSpec, "object_labels"): ({"release": "a b"}, "must be letters, digits"),
    (MonitoringSpec, "certificate"): ("*.example.org", "must be a name of lower-case letters"),
    (BackupAlertSpec, "cron_job"): ("a" * 53, "must have at most 52 characters, has 53"),
    (BackupAlertSpec, "max_age"): ("1d2h", "must be whole hours or days such as 26h or 8d"),
    (AvailabilitySpec, "min_replicas"): (1, "must be at least 2"),
    (ReadersSpec, "min_replicas"): (0, "must be at least 1"),
    **{
        (scaled, field): wrong
        for scaled in (AvailabilitySpec, ReadersSpec)
        for field, wrong in {
            "max_replicas": (10**9, "must be at most 1000"),
            "cpu_percent": (0, "must be at least 1"),
            "cpu_use": ("100Mi", "must be cores such as 2, 0.5 or 250m"),
            "memory_use": ("512m", "is 512Mi meant?"),
            "behavior": ({"scaleUp": {"policies": [{"type": "Pods", "value": 1}]}}, "is missing"),
            "min_available": (0, "must be more than 0: otherwise all pods may be evicted at once"),
            "max_unavailable": (0, "must be more than 0: otherwise no pod may be evicted at rest"),
        }.items()
    },
    **{
        (mode, field): wrong
        for mode in (LocalVolumeSpec, SharedVolumeSpec, S3VolumeSpec)
        for field, wrong in {
            "existing_claim": ("a_b", "must be a name of lower-case letters"),
            "identity": ("a b", "must be letters, digits and -"),
            "claim_annotations": ({"/a": "b"}, "must be an annotation key"),
            "claim_labels": ({"a": "-"}, "must be letters, digits"),
            "size": ("9Ei", "must be at most 9223372036854775807 bytes"),
        }.items()
    },
    (UpstreamIndexSpec, "name"): ("a_b", "must be a name of lower-case letters, digits and -"),
    (UpstreamIndexSpec, "url"): ("https://a:b@index.example.org/simple/", "must hold no credentials"),
    (UpstreamIndexSpec, "file_hosts"): (["https://files.example.org"], "must be a host without scheme and path"),
    (UpstreamIndexSpec, "credentials_secret"): ("a/b", "must be a name of lower-case letters"),
    (UpstreamIndexSpec, "ca_config_map"): ("A", "must be a name of lower-case letters"),
    (UpstreamIndexSpec, "ca_secret"): ("A", "must be a name of lower-case letters"),
    (UpstreamSpec, "private_names"): (["*"], "must not match every name: leave it out, or say which"),
    (UpstreamSpec, "merge"): (["torch*"], "must be the name of a project, not a pattern"),
    (UpstreamSpec, "minimum_age_days"): (3651, "must be at most 3650"),
    (UpstreamSpec, "no_minimum_age"): (["acme-?"], "must be a name of a project or a pattern such as acme-*"),
    (UpstreamSpec, "allow"): (["django>=four"], "has versions that there cannot be (>=four)"),
    (UpstreamSpec, "deny"): (["torch>2,<1"], "matches nothing: no version is >2,<1"),
    (UpstreamSpec, "page_seconds"): (9, "must be at least 10"),
    (UpstreamSpec, "proxy"): ("http://a:b@proxy.example.org:3128", "must hold no credentials"),
    (UpstreamSpec, "peers"): ([{"podSelecter": {}}], "must have podSelector, namespaceSelector or both, or ipBlock"),
    (UpstreamCacheSpec, "size"): ("512Mi", "must be at least 1Gi"),
    (UpstreamCacheSpec, "existing_claim"): ("a_b", "must be a name of lower-case letters"),
    (ExternalAuthSpec, "url"): ("oauth2-proxy:4180", "must be the address of a service"),
    (ExternalAuthSpec, "ca_config_map"): ("My_CA", "must be a name of lower-case letters"),
    (ExternalAuthSpec, "user_header"): ("X User", "must be the name of a header such as X-Auth-Request-User"),
    (ExternalAuthSpec, "groups_header"): ("X:Groups", "must be the name of a header such as X-Auth-Request-User"),
    (ExternalAuthSpec, "original_url"): ("pypi.example.org", "must be the address of a service"),
    (ExternalAuthSpec, "readers"): (["a,b"], "must be a group as the header has it, without commas"),
    (ExternalAuthSpec, "publishers"): (["*"], "must be a group as the header has it, without commas"),
    (ExternalAuthSpec, "seconds"): (4, "must be at least 5"),
    (ExternalAuthSpec, "guesses"): (0, "must be at least 1"),
    (ExternalAuthSpec, "ports"): ([0], "must be at least 1"),
    (ExternalAuthSpec, "peers"): ([], "must have at least 1, has 0"),
    (AttestationsSpec, "trust_root_config_map"): ("Sigstore", "must be a name of lower-case letters"),
    (AttestationsSpec, "libraries"): ("mirror.example.org", "must be the address of an index"),
    (AttestationsSpec, "image"): ("a b", "must be an image"),
    (AttestationsSpec, "ca_config_map"): ("A", "must be a name of lower-case letters"),
    (AttestationsSpec, "peers"): ([], "must have at least 1, has 0"),
    (AttestedPublisherSpec, "projects"): (["acme-?"], "must be a name of a project or a pattern"),
    (GitHubIdentitySpec, "repository"): ("https://github.com/acme/lib", "must be owner and name as GitHub spells them"),
    (GitHubIdentitySpec, "workflow"): (".github/workflows/release.yml", "must be the name of the file alone"),
    (GitLabIdentitySpec, "repository"): ("lib", "must be the path of a project at gitlab.com"),
    (GitLabIdentitySpec, "workflow_filepath"): ("/.gitlab-ci.yml", "must be the path of a configuration"),
    (GoogleIdentitySpec, "email"): ("ci", "must be an address such as ci@acme.example"),
    (CircleCIIdentitySpec, "project_id"): ("acme", "must be a UUID"),
    (CircleCIIdentitySpec, "pipeline_definition_id"): (UUID.upper(), "must be a UUID"),
    (CircleCIIdentitySpec, "vcs_origin"): ("lib", "must be a repository such as github.com/acme/lib"),
    (CircleCIIdentitySpec, "vcs_ref"): ("main", "must be a ref such as refs/heads/main"),
    (TrustedPublishingSpec, "audience"): ("pypi", "must be of this registry alone, such as its host"),
    (TrustedPublishingSpec, "verifier"): ("127.0.0.1:4180", "must be the address of a service"),
    (TrustedPublishingSpec, "ports"): ([], "must have at least 1, has 0"),
    (TrustedPublishingSpec, "peers"): ([], "must have at least 1, has 0"),
    (TrustedPublisherSpec, "name"): ("Team_A", "must be lower-case letters, digits, - and ."),
    (TrustedPublisherSpec, "issuer"): (
        "gitlab.example.org",
        "must be the address of an issuer, such as https://gitlab.example.org",
    ),
    (TrustedPublisherSpec, "claims"): ({}, "must have at least 1, has 0"),
    (TrustedPublisherSpec, "projects"): (["team-?"], "must be a name of a project or a pattern"),
    (PermissionGroupSpec, "users"): (["@core"], "must be the name of a user"),
    (PermissionGroupSpec, "directory"): ("cn=a\nb", "must be one line"),
    (PermissionRuleSpec, "projects"): (["acme-?"], "must be a name of a project or a pattern such as acme-* or *"),
    (PermissionRuleSpec, "excluding"): (["-acme"], "must be a name of a project or a pattern such as acme-* or *"),
    (PermissionRuleSpec, "read"): (["a\nb"], "must be the name of a user, @ and the name of a group"),
    (PermissionRuleSpec, "publish"): (["team:ci"], "must be the name of a user, @ and the name of a group"),
    (PermissionRuleSpec, "create"): (["*x"], "must be the name of a user, @ and the name of a group"),
    (PermissionRuleSpec, "yank"): (["@"], "must be the name of a user, @ and the name of a group"),
    (PermissionRuleSpec, "remove"): ([""], "must not be empty"),
    (RetentionRuleSpec, "projects"): (["*"], "must not match every name: leave it out, or say which"),
    (RetentionRuleSpec, "keep_versions"): (0, "must be at least 1"),
    (RetentionRuleSpec, "keep_days"): (0, "must be at least 1"),
    (RetentionRuleSpec, "keep_prereleases"): (-1, "must be at least 0"),
    (RetentionSpec, "yank_reason"): ("a\nb", "must be one line of text"),
    (RetentionSpec, "pinned"): (["acme>=one"], "has versions that there cannot be (>=one)"),
    (RetentionSpec, "lock_config_maps"): (["A"], "must be a name of lower-case letters"),
    (RetentionSpec, "minimum_age_days"): (0, "must be at least 1"),
    (RetentionSpec, "most_versions"): (0, "must be at least 1"),
    (RetentionSpec, "most_percent"): (101, "must be at most 100"),
    (RetentionSpec, "schedule"): ("30 3 * *", "must be five fields as cron has them"),
    (RetentionSpec, "time_zone"): ("Local", "must say which one: the API server refuses Local"),
    (RetentionSpec, "max_age"): ("90m", "must be whole hours or days"),
    (RetentionSpec, "credentials_secret"): ("a_b", "must be a name of lower-case letters"),
    (RetentionSpec, "tls_name"): ("https://pypi.example.org", "must be a full DNS name"),
    (RetentionSpec, "ca_config_map"): ("A", "must be a name of lower-case letters"),
    (RetentionSpec, "patience_seconds"): (3601, "must be at most 3600"),
    (RemoteSpec, "type"): ("union", "cannot be had: it stands before another remote"),
    (RemoteSpec, "path"): ("a//b", "must be a bucket, or a folder in it"),
    (RemoteSpec, "options"): ({"provider": "a\nb"}, "must be one line of text"),
    (RemoteSpec, "secret"): ("a_b", "must be a name of lower-case letters"),
    (RemoteSpec, "secret_options"): (["ACCESS_KEY_ID"], "must be the name of an option"),
    (RemoteSpec, "ca_config_map"): ("A", "must be a name of lower-case letters"),
    (RemoteSpec, "peers"): ([], "must have at least 1"),
    (RemoteSpec, "ports"): ([0], "must be at least 1"),
    (BackupSpec, "claim"): ("a_b", "must be a name of lower-case letters"),
    (BackupSpec, "encryption_secret"): ("a_b", "must be a name of lower-case letters"),
    (BackupSpec, "schedule"): ("61 2 * * *", "has a minute that there is not (61)"),
    (BackupSpec, "time_zone"): ("Local", "must say which one"),
    (BackupSpec, "keep"): (0, "must be at least 1"),
    (BackupSpec, "most_lost_percent"): (101, "must be at most 100"),
    (BackupSpec, "accepted"): ("20261326T083000Z", "is no date or time that there is"),
    (BackupSpec, "bandwidth"): ("10", "must be bytes a second such as 500K"),
    (BackupSpec, "max_age"): ("90m", "must be whole hours or days"),
    (BackupSpec, "retries"): (11, "must be at most 10"),
    (BackupSpec, "deadline_seconds"): (59, "must be at least 60"),
    (BackupSpec, "image"): ("a b", "must be an image"),
    (BackupSpec, "env"): ([{"name": "A", "valeu": "b"}], "is no field here; did you mean value?"),
    (CopyLockSpec, "config_map"): ("a_b", "must be a name of lower-case letters"),
    (CopyLockSpec, "file"): ("Pipfile.lock", "must be the key of a lock file"),
    (CopyLockSpec, "index"): ("index.example.org", "must be the address of an index"),
    (CopyLockSpec, "pythons"): (["cp312"], "must be a version of Python"),
    (CopyLockSpec, "platforms"): (["linux"], "must be the tag of a platform"),
    (CopySpec, "source"): ("https://a:b@old.example.org/simple/", "must hold no credentials"),
    (CopySpec, "target"): ("pypi.example.org", "must be the address of an index"),
    (CopySpec, "target_index"): ("ftp://pypi.example.org/", "must be the address of an index"),
    (CopySpec, "source_secret"): ("a_b", "must be a name of lower-case letters"),
    (CopySpec, "target_secret"): ("a_b", "must be a name of lower-case letters"),
    (CopySpec, "only"): (["acme $"], "must be the name of a project or a pattern"),
    (CopySpec, "jobs"): (0, "must be at least 1"),
    (CopySpec, "limit_rate"): ("10", "must be bytes a second such as 500K"),
    (CopySpec, "schedule"): ("61 2 * * *", "has a minute that there is not (61)"),
    (CopySpec, "time_zone"): ("Local", "must say which one"),
    (CopySpec, "retries"): (11, "must be at most 10"),
    (CopySpec, "deadline_seconds"): (59, "must be at least 60"),
    (CopySpec, "work_size"): ("10", "must be at least 1Mi"),
    (CopySpec, "libraries"): ("pypi", "must be the address of an index"),
    (CopySpec, "image"): ("a b", "must be an image"),
    (CopySpec, "rclone_image"): ("a b", "must be an image"),
    (CopySpec, "ca_config_map"): ("A", "must be a name of lower-case letters"),
    (CopySpec, "peers"): ([], "must have at least 1"),
    (CopySpec, "env"): ([{"name": "A", "valeu": "b"}], "is no field here; did you mean value?"),
    (RestoreSpec, "as_of"): ("2026-13-01", "is no date or time that there is"),
    (DrillSpec, "schedule"): ("weekly", "must be five fields as cron has them"),
    (DrillSpec, "scratch_size"): ("10", "must be at least 1Mi"),
    (DrillSpec, "scratch_storage_class"): ("A", "must be a name of lower-case letters"),
    (DrillSpec, "credentials_secret"): ("a/b", "must be a name of lower-case letters"),
    (DrillSpec, "url"): ("https://a:b@pypi.example.org/simple/", "must hold no credentials"),
    (DrillSpec, "tls_name"): ("https://pypi.example.org", "must be a full DNS name"),
    (DrillSpec, "ca_config_map"): ("A", "must be a name of lower-case letters"),
    (DrillSpec, "max_age"): ("8", "must be whole hours or days"),
    (DrillSpec, "deadline_seconds"): (10**6, "must be at most 604800"),
    (LocalVolumeSpec, "storage_class"): ("", "must not be empty"),
    (SharedVolumeSpec, "storage_class"): ("NFS", "must be a name of lower-case letters"),
    (SharedVolumeSpec, "rescan_seconds"): (0, "must be at least 1"),
    (ObjectStoreSpec, "folder"): ("a//b", "must be a bucket, or a folder in it"),
    (ObjectStoreSpec, "size"): ("512Mi", "must be at least 1Gi"),
    (ObjectStoreSpec, "existing_claim"): ("a_b", "must be a name of lower-case letters"),
    (ObjectStoreSpec, "identity"): ("a b", "must be letters, digits and -"),
    (ObjectStoreSpec, "rescan_seconds"): (59, "must be at least 60"),
    (ObjectStoreSpec, "poll_seconds"): (61, "must be at most 60"),
    (ObjectStoreSpec, "parts_max_age"): ("90m", "must be whole hours or days"),
    (RcloneSpec, "image"): ("", "must not be empty"),
    (S3VolumeSpec, "bucket"): ("a..b", "beside each ."),
    (S3VolumeSpec, "prefix"): ("../x", "must not have . or .. as a part"),
    (S3VolumeSpec, "secret"): ("a\0", "must be a name of lower-case letters"),
    (S3VolumeSpec, "namespace"): ("a.b", "must be a name of lower-case letters"),
    (S3VolumeSpec, "driver"): ("A", "must be a name of lower-case letters"),
    (S3VolumeSpec, "mount_memory"): (10**9, "must be at most 1000000"),
    (S3VolumeSpec, "mount_options"): (["--a; rm -rf /"], "must be one option such as"),
    (CleanupSpec, "schedule"): ("61 2 * * *", "has a minute that there is not (61)"),
    (CleanupSpec, "max_age"): ("90m", "must be whole hours or days"),
    (CleanupSpec, "image"): ("a b", "must be an image"),
    (S3VolumeSpec, "poll_seconds"): (3601, "must be at most 3600"),
    (S3VolumeSpec, "rescan_seconds"): (86401, "must be at most 86400"),
}


def _is_switch_or_choice(model: type[Spec], name: str) -> bool:
    annotation = model.model_fields[name].annotation
    types = {part for part in get_args(annotation) or (annotation,) if part is not type(None)}
    return get_origin(annotation) is Literal or all(part is bool or get_origin(part) is Literal for part in types)


def _innermost(value: object) -> str:
    """Return what is shown of a value: the first of a list, what a mapping's first key or value is."""
    if isinstance(value, list) and value:
        return _innermost(value[0])
    return "" if isinstance(value, dict) else repr(value)


def test_every_field_has_a_refusal_or_is_a_switch_or_a_choice() -> None:
    assert {field for field in _fields() if not _is_switch_or_choice(*field)} - WRONG_VALUES.keys() == set()
    assert WRONG_VALUES.keys() <= _fields()


@pytest.mark.parametrize(("model", "name"), WRONG_VALUES, ids=lambda part: getattr(part, "__name__", part))
def test_every_field_is_refused_with_its_value_and_the_reason(model: type[Spec], name: str) -> None:
    value, reason = WRONG_VALUES[model, name]
    with pytest.raises(SpecError) as refused:
        _with(OTHER_VALUES[model, name][0], model, name, value)
    (problem,) = refused.value.problems
    assert problem.path[0] == name
    assert reason in problem.reason
    assert _innermost(value) in str(problem)


HOSTILE: list[Any] = [
    *(
        "",
        " ",
        " a",
        "a\n",
        "a\0b",
        "\x1b[31m",
        "\ud800",
        "ü",
        "٣",
        "a" * 100_000,
        "../../x",
        "{{x}}",
        "$(id)",
        "\u202e",
    ),
    *(-1, -(10**9), 10**9, 10**30, 10**5000, 0.5, float("nan"), float("inf"), True, None, b"a", object(), "1e9"),
    *([], [None], [[]], ["a\0"], {}, {"": ""}, {"a\0": "b"}, {"a": None}, {1: 2}, {"kind": "x"}, [{}]),
]


def _refusal(model: type[Spec], name: str, value: object) -> str:
    """Return the message; nothing if the value is taken."""
    try:
        _with(OTHER_VALUES[model, name][0], model, name, value)
    except SpecError as refused:
        return str(refused)
    return ""


def test_nothing_hostile_is_refused_in_other_words_than_ours() -> None:
    jargon = ("Input should", "input_value", "pydantic", "Value error", "<function", "\x1b", "\0")
    messages = [_refusal(*field, value) for field, value in itertools.product(sorted(_fields(), key=str), HOSTILE)]
    assert [message for message in messages if any(word in message for word in jargon)] == []
    assert max(map(len, messages)) < 1000
    # Most of it is.
    assert sum(map(bool, messages)) > 0.9 * len(messages)


def test_no_name_is_taken_that_no_service_can_have_or_that_is_the_clusters_own() -> None:
    names = [*HOSTILE, "a-", "a.b", "A", "4711-pypi", "1", "a_b", "default", "kubernetes"]
    assert [name for name in names if not _refusal(PyPIServerSpec, "name", name)] == []


def test_the_longest_name_leaves_room_for_every_suffix() -> None:
    name = "a" * 36
    objects = synthesize(
        PyPIServerSpec(
            name=name,
            storage=SharedVolumeSpec(),
            ingress=RegistryIngressSpec(host=HOST, tls=LETSENCRYPT),
            availability=AvailabilitySpec(),
            monitoring=MonitoringSpec(),
        )
    )
    names = {made["metadata"]["name"] for made in objects}
    assert max(map(len, names)) <= 63
    # Not shorter than it has to be.
    assert max(map(len, names)) > 60
    with pytest.raises(SpecError, match="must have at most 63 characters"):
        S3VolumeSpec(bucket="packages", driver="a" * 64)
    with pytest.raises(SpecError, match="must have at most 36 characters, has 37"):
        PyPIServerSpec(name=name + "a")


def _schemas(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _schemas(part)


def test_the_json_schema_says_what_texts_and_numbers_may_be() -> None:
    free = [
        schema
        for schema in _schemas(PyPIServerSpec.model_json_schema())
        if (schema.get("type") == "string" and not schema.keys() & {"pattern", "enum", "const"})
        or (schema.get("type") == "integer" and not schema.keys() >= {"minimum", "maximum"})
    ]
    # Values of annotations.
    assert free == [{"type": "string"}] * len(free)
    assert len(free) == sum(name.endswith("annotations") for _, name in _fields())


# What is right field by field and cannot work together: what is made, and the lines of the refusal.
CONFLICTS: dict[str, tuple[Callable[[], Spec], list[str]]] = {
    "no certificates for a directory with TLS": (
        lambda: DIRECTORY.replace(ca_config_map=None),
        ["ca_config_map must be given, or ca_secret, with security ldaps: no other certificate is trusted"],
    ),
    "certificates in two places": (
        lambda: DIRECTORY.replace(ca_secret="directory-ca"),
        ["ca_secret ('directory-ca') must be left out with ca_config_map (ldap-ca)"],
    ),
    "certificates for a directory without TLS": (
        lambda: DIRECTORY.replace(security="none"),
        ["ca_config_map ('ldap-ca') must be left out with security none: no certificate is looked at"],
    ),
    "nobody who asks the directory": (
        lambda: DIRECTORY.replace(bind_dn=None),
        ["bind_dn must be given, or bind_template"],
    ),
    "two who ask the directory": (
        lambda: DIRECTORY.replace(bind_template="$1@example.org"),
        ["bind_template ('$1@example.org') must be left out with bind_dn (cn=pypi,ou=services,dc=example,dc=org)"],
    ),
    "a password of nobody": (
        lambda: DIRECTORY.replace(bind_dn=None, bind_template="$1@example.org", bind_secret="other"),
        ["bind_secret ('other') must be left out without bind_dn: nobody binds with it"],
    ),
    "more projects than a header holds": (
        lambda: TRUSTED.publishers[0].replace(projects=[f"team-{number}-*" for number in range(501)]),
        [
            (
                "projects (('team-0-*', 'team-1-*', 'team-2-*', 'team-3-*', 'team-4-*', "
                "'team-5-*', ...)) must be 500 at most; patterns say more with fewer"
            )
        ],
    ),
    "longer projects than a header holds": (
        lambda: TRUSTED.publishers[0].replace(projects=[f"team-{number}-*" for number in range(205)]),
        [
            (
                "projects (('team-0-*', 'team-1-*', 'team-2-*', 'team-3-*', 'team-4-*', 'team-5-*', ...)) "
                "must have 2000 characters at most; patterns say more with fewer"
            )
        ],
    ),
    "a service whose certificate nobody knows": (
        lambda: EXTERNAL.replace(url="https://auth.example.org/"),
        ["ca_config_map must be given with https: no other certificate is trusted"],
    ),
    "certificates of a service without TLS": (
        lambda: EXTERNAL.replace(ca_config_map="auth-ca"),
        ["ca_config_map ('auth-ca') must be left out with url http://oauth2-proxy.auth.svc:4180/oauth2/auth"],
    ),
    "readers of a service that are everybody": (
        lambda: EXTERNAL.replace(everybody_reads=True),
        ["readers (('developers',)) must be left out with everybody_reads"],
    ),
    "a service of which nobody is let in": (
        lambda: EXTERNAL.replace(readers=[], publishers=[]),
        ["publishers must name a group, unless readers does: nobody is let in"],
    ),
    "one header for the user and the groups": (
        lambda: EXTERNAL.replace(groups_header="x-auth-request-user"),
        ["groups_header ('x-auth-request-user') must be another header than user_header"],
    ),
    "a service and a directory": (
        lambda: PyPIServerSpec(external_auth=EXTERNAL, ldap=DIRECTORY),
        ["external_auth (given) must be left out with ldap: a name is judged in one place"],
    ),
    "a verifier behind TLS": (
        lambda: TRUSTED.replace(verifier="https://verifier.example.org/auth"),
        ["verifier ('https://verifier.example.org/auth') must begin with http://"],
    ),
    "trusted publishers of whom one is another": (
        lambda: TRUSTED.replace(
            publishers=[
                TRUSTED.publishers[0],
                TRUSTED.publishers[0].replace(claims={"project_path": "other"}),
                TRUSTED.publishers[0].replace(
                    name="b", claims={"project_path": "team-a/lib", "ref_protected": "true", "ref": "main"}
                ),
            ]
        ),
        [
            "publishers[1].name ('team-a') is there twice",
            "publishers[2].claims (",
        ],
    ),
    "rules about attestations that say the same or the opposite": (
        lambda: ATTESTED.replace(
            publishers=[
                *ATTESTED.publishers,
                ATTESTED.publishers[0].replace(projects=["other", "Acme_Lib"]),
                AttestedPublisherSpec(
                    projects=["acme.docs", "docs"], identity=GitLabIdentitySpec(repository="acme/lib"), required=False
                ),
                AttestedPublisherSpec(projects=["acme-docs"], identity=GoogleIdentitySpec(email="a@acme.example")),
            ]
        ),
        [
            "publishers[1].projects[1] ('Acme_Lib') is there twice: publishers[0] has it for the same identity",
            "publishers[2].required (False) cannot be had for acme-docs: publishers[0] requires an attestation of it (",
        ],
    ),
    "an identity of no kind": (
        lambda: AttestedPublisherSpec.model_validate({"projects": ["acme"], "identity": {"kind": "Gitea"}}),
        ["identity.kind ('Gitea') must be "],
    ),
    "nobody who signs": (
        lambda: ATTESTED.replace(publishers=[]),
        ["publishers ([]) must have at least 1, has 0"],
    ),
    "an image that has no libraries": (
        lambda: ATTESTED.replace(libraries=None, ca_config_map="company-ca"),
        [
            "image must be given without libraries: the server's image has none of them",
            "ca_config_map ('company-ca') must be left out without libraries: nobody is asked",
        ],
    ),
    "more publishers than can be applied": (
        lambda: ATTESTED.replace(
            publishers=[ATTESTED.publishers[0].replace(projects=[f"acme-{number}"]) for number in range(2000)]
        ),
        ["publishers must be fewer; patterns say more: the file has "],
    ),
    "libraries of the cluster that no policy lets through": (
        lambda: SIGNED.replace(attestations=ATTESTED.replace(libraries="http://mirror.tools.svc/simple/")),
        ["attestations.peers must be given with network_policy: by default mirror.tools.svc is not let through"],
    ),
    "an issuer that is spoken to in the clear": (
        lambda: TRUSTED.publishers[0].replace(issuer="http://gitlab.example.org"),
        ["issuer ('http://gitlab.example.org') must begin with https://"],
    ),
    "a token that there cannot be": (
        lambda: PermissionRuleSpec(projects=["acme-*"], publish=["token:ci", "token:Nope_X"]),
        ["publish[1] ('token:Nope_X') must have the name of a token after token:, which is of lower-case letters"],
    ),
    "groups that nobody names or that there are not": (
        lambda: PermissionsSpec(
            groups=[PermissionGroupSpec(name=name, users=["a"]) for name in ("core", "core", "data")],
            rules=[PermissionRuleSpec(projects=["acme-*"], publish=["@cor", "@core"])],
        ),
        [
            "rules[0].publish[0] ('@cor') is no group of these permissions: there are core, core, data",
            "groups[1].name ('core') is there twice",
            "groups[2].name ('data') has no effect: no rule names @data",
        ],
    ),
    "groups of nobody": (
        lambda: PermissionGroupSpec(name="core"),
        ["users must name somebody, unless directory does"],
    ),
    "groups of no directory": (
        lambda: RULED_BY_DIRECTORY.replace(ldap=None),
        ["permissions.groups[0].directory ('cn=core,ou=groups,dc=example,dc=org') must be left out without ldap or"],
    ),
    "groups that the directory calls otherwise": (
        lambda: PyPIServerSpec(
            ldap=DIRECTORY,
            permissions=PermissionsSpec(
                groups=[PermissionGroupSpec(name="core", directory="developers")],
                rules=[PermissionRuleSpec(projects=["acme-*"], publish=["@core"])],
            ),
        ),
        ["permissions.groups[0].directory ('developers') must be a distinguished name"],
    ),
    "more groups than a login may ask for": (
        lambda: PermissionsSpec(
            groups=[PermissionGroupSpec(name=f"g{number}", directory=f"cn=g{number},dc=org") for number in range(17)],
            rules=[PermissionRuleSpec(projects=["*"], publish=[f"@g{number}" for number in range(17)])],
        ),
        ["groups must be fewer of a directory: 17, and each login asks for at most 16"],
    ),
    "rules that say nothing": (
        lambda: PermissionRuleSpec(projects=["acme-*"]),
        ["read must name somebody, unless publish, yank, remove, create does"],
    ),
    "rules about nothing": (
        lambda: PermissionRuleSpec(projects=["acme-*", "tools"], excluding=["Acme_*"], read=["bob"]),
        ["projects[0] ('acme-*') has no effect with excluding (acme-*)"],
    ),
    "names that a rule is not about anyway": (
        lambda: PermissionRuleSpec(
            projects=["acme-*", "*-tools"],
            excluding=["other-*", "acme-data-*", "Acme_Data-x", "acme-data-*", "x-tools", "b*-c*s", "acne", "tools-*"],
            read=["bob"],
        ),
        [
            "excluding[3] ('acme-data-*') is there twice",
            "excluding[2] ('Acme_Data-x') has no effect: excluding[1] (acme-data-*) says as much",
            "excluding[6] ('acne') has no effect: projects (acme-*, *-tools) has no such name",
        ],
    ),
    "a user who is in a group twice": (
        lambda: PermissionGroupSpec(name="core", users=["bob", "Bob", "bob"]),
        ["users[2] ('bob') is there twice"],
    ),
    "servers of a directory that are one": (
        lambda: DIRECTORY.replace(
            servers=["a.example.org", "b.example.org:3269", "a.example.org:636", "b.example.org:3269"],
            connect_seconds=1,
        ),
        [
            "servers[3] ('b.example.org:3269') is there twice",
            "servers[2] ('a.example.org:636') is there twice: servers[0] (a.example.org) is the same",
        ],
    ),
    "groups of a directory that are meant already": (
        lambda: DIRECTORY.replace(
            readers=["cn=r,dc=org", "CN=r, dc=org", "cn=P,dc=org"], publishers=["cn=p,dc=org", "cn=p,dc=org"]
        ),
        [
            "publishers[1] ('cn=p,dc=org') is there twice",
            "readers[1] ('CN=r, dc=org') is there twice: readers[0] is the same",
            "readers[2] ('cn=P,dc=org') has no effect: publishers has it, and whoever publishes reads",
        ],
    ),
    "groups of a service that are meant already": (
        lambda: EXTERNAL.replace(readers=["a", "b", "a"], publishers=["b"]),
        [
            "readers[2] ('a') is there twice",
            "readers[1] ('b') has no effect: publishers has it, and whoever publishes reads",
        ],
    ),
    "projects of jobs that are meant already": (
        lambda: TRUSTED.publishers[0].replace(projects=["team-a-*", "Team_A-lib", "team-a-*", "other"]),
        [
            "projects[2] ('team-a-*') is there twice",
            "projects[1] ('Team_A-lib') has no effect: projects[0] (team-a-*) says as much",
        ],
    ),
    "ports and names that are there twice": (
        lambda: TRUSTED.replace(ports=[443, 6443, 443]),
        ["ports[2] (443) is there twice"],
    ),
    "reads by project where nobody logs in": (
        lambda: PyPIServerSpec(
            auth=AuthSpec(anonymous_reads=True),
            permissions=PermissionsSpec(rules=[PermissionRuleSpec(projects=["acme-*"], read=["bob"])]),
        ),
        ["permissions.rules[0].read (['bob']) cannot be had with auth.anonymous_reads"],
    ),
    "those who are meant already": (
        lambda: PermissionRuleSpec(projects=["acme-*"], publish=["bob", "bob"], yank=["*", "bob"]),
        ["publish[1] ('bob') is there twice", "yank[1] ('bob') must be left out with *, which is everybody"],
    ),
    "rules about projects of which others say as much": (
        lambda: PermissionsSpec(
            rules=[
                PermissionRuleSpec(projects=["acme-x-*"], publish=["bob"]),
                PermissionRuleSpec(projects=["acme-*", "Acme_Tools"], publish=["bob", "carol"]),
                PermissionRuleSpec(projects=["acme-*"], yank=["carol"]),
                PermissionRuleSpec(projects=["acme-*"], yank=["carol"]),
                PermissionRuleSpec(projects=["*-x"], publish=["*"]),
                PermissionRuleSpec(projects=["*-a-x"], publish=["bob"]),
                PermissionRuleSpec(projects=["*"], excluding=["b-*"], read=["*"]),
                PermissionRuleSpec(projects=["b-x", "c-x"], read=["dora"]),
                PermissionRuleSpec(projects=["d-*"], read=["dora"]),
            ],
        ),
        [
            "rules[0].projects[0] ('acme-x-*') has no effect: rules[1] (acme-*) grants as much",
            "rules[1].projects[1] ('Acme_Tools') has no effect: rules[1] (acme-*) grants as much",
            "rules[3].projects[0] ('acme-*') has no effect: rules[2] (acme-*) grants as much",
            "rules[5].projects[0] ('*-a-x') has no effect: rules[4] (*-x) grants as much",
            "rules[7].projects[1] ('c-x') has no effect: rules[6] (*) grants as much",
            "rules[8].projects[0] ('d-*') has no effect: rules[6] (*) grants as much",
        ],
    ),
    "names that everybody publishes anyway": (
        lambda: PermissionRuleSpec(projects=["acme-*"], publish=["*"], create=["bob"]),
        ["create (['bob']) has no effect with publish (*)"],
    ),
    "names that are left to nobody, as others have them": (
        lambda: PermissionsSpec(
            rules=[
                PermissionRuleSpec(projects=["acme-*", "Acme_Tools-*"], create=["bob"]),
                PermissionRuleSpec(projects=["acme-*"], publish=["carol"]),
                PermissionRuleSpec(projects=["data-*", "b-*"], create=["bob"]),
                PermissionRuleSpec(projects=["*"], excluding=["acme-*", "b-*"], publish=["carol"], create=["*"]),
                PermissionRuleSpec(projects=["data-x"], publish=["carol"]),
            ],
        ),
        [
            "rules[0].projects[1] ('Acme_Tools-*') has no effect: rules[0] (acme-*) grants as much",
            "rules[2].projects[0] ('data-*') has no effect: rules[3] (*) grants as much",
            "rules[0].create (['bob']) has no effect: rules[1] (acme-*) has publish",
        ],
    ),
    "a right to remove what the server does not remove": (
        lambda: PyPIServerSpec(
            permissions=PermissionsSpec(rules=[PermissionRuleSpec(projects=["*"], remove=["alice"])])
        ),
        ["permissions.rules[0].remove (['alice']) needs server.allow_removal (False)"],
    ),
    "a group that is called as everybody is": (
        lambda: PermissionsSpec(
            groups=[PermissionGroupSpec(name="anonymous", users=["alice"])],
            rules=[PermissionRuleSpec(projects=["acme-*"], read=["@anonymous"])],
        ),
        ["groups[0].name ('anonymous') must be another one: @anonymous is everybody, also without credentials"],
    ),
    "everybody where they may do more than read": (
        lambda: PermissionRuleSpec(projects=["acme-*"], publish=["@anonymous"]),
        ["publish[0] ('@anonymous') must be left out: without credentials nobody may do more than read"],
    ),
    "everybody beside somebody": (
        lambda: PermissionRuleSpec(projects=["acme-*"], read=["@anonymous", "*", "bob"]),
        [
            "read[1] ('*') must be left out with @anonymous, which is everybody",
            "read[2] ('bob') must be left out with @anonymous, which is everybody",
        ],
    ),
    "readers of what everybody reads": (
        lambda: PermissionsSpec(
            rules=[
                PermissionRuleSpec(projects=["*"], read=["@anonymous"]),
                PermissionRuleSpec(projects=["acme-*"], read=["*"]),
            ]
        ),
        ["rules[1].projects[0] ('acme-*') has no effect: rules[0] (*) grants as much"],
    ),
    "more rules than can be applied": (
        lambda: PermissionsSpec(
            rules=[PermissionRuleSpec(projects=[f"{n}-{'a' * 190}"], publish=["bob"]) for n in range(1200)]
        ),
        ["rules must be fewer, or their groups smaller: the file has"],
    ),
    "a directory of which nobody is let in": (
        lambda: DIRECTORY.replace(readers=[], publishers=[]),
        ["publishers must name a group, unless readers does: nobody is let in"],
    ),
    "groups of readers where everybody reads": (
        lambda: DIRECTORY.replace(everybody_reads=True),
        ["readers (('cn=pypi-readers,ou=groups,dc=example,dc=org',)) must be left out with everybody_reads"],
    ),
    "nested groups that nobody looks into": (
        lambda: DIRECTORY.replace(membership="memberOf", nested_groups=2),
        ["nested_groups (2) must be left out with membership memberOf: no group is looked into"],
    ),
    "servers that take too long": (
        lambda: DIRECTORY.replace(servers=["a.example.org", "b.example.org", "c.example.org"]),
        ["connect_seconds (2) must be smaller: with 3 servers and answer_seconds (4) an answer takes up to 10 s"],
    ),
    "pods on a volume of one node": (
        lambda: PyPIServerSpec(replicas=2),
        ["replicas (2) must be 0 or 1 on storage of kind local: the volume is one node's"],
    ),
    "pods that take over one by one on a volume of one node": (
        lambda: PyPIServerSpec(rollout=RolloutSpec(max_surge=2, max_unavailable="10%")),
        [
            "rollout.max_surge (2) cannot be had on storage of kind local, where the old pod ends first: the volume is",
            "rollout.max_unavailable ('10%') cannot be had on storage of kind local, where the old pod ends first",
        ],
    ),
    "rollouts that never end": (
        lambda: RolloutSpec(max_surge="0%", min_ready_seconds=600),
        [
            "max_surge ('0%') must be more than 0 with max_unavailable (0)",
            "min_ready_seconds (600) must be below progress_deadline_seconds (600)",
        ],
    ),
    "annotations of an account that is there already": (
        lambda: ServiceAccountSpec(existing="other", annotations={"a": "b"}),
        ["annotations (given) cannot be had with existing (other): it is used as it is"],
    ),
    "tolerations of nothing": (
        lambda: PodOptionsSpec(
            tolerations=[
                {"key": "example.org/batch", "operator": "exists"},
                {"operator": "Equal", "value": "b"},
                {"key": "a", "operator": "Exists", "value": "b", "effect": "NoShedule"},
                {"key": "a b", "value": "c", "tolerationSeconds": 60},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
            ]
        ),
        [
            "tolerations[0].operator ('exists') must be Equal or Exists",
            "tolerations[1].key must be given, or the operator Exists for every taint",
            "tolerations[2].effect ('NoShedule') must be NoExecute or NoSchedule or PreferNoSchedule",
            "tolerations[2].value ('b') must be left out with the operator Exists",
            (
                "tolerations[3].key ('a b') must be a label key such as team or example.org/team: letters, digits, "
                "- _ and . (63 at most after the /)"
            ),
            "tolerations[3].tolerationSeconds (60) needs the effect NoExecute: no other one ends a pod",
        ],
    ),
    "a spread over nothing": (
        lambda: PodOptionsSpec(
            topology_spread_constraints=[{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Schedule"}]
        ),
        [
            "topology_spread_constraints[0].maxSkew (0) must be at least 1",
            (
                "topology_spread_constraints[0].topologyKey ('') must not be empty: it must be a label key such as "
                "team or example.org/team: letters, digits, - _ and . (63 at most after the /)"
            ),
            "topology_spread_constraints[0].whenUnsatisfiable ('Schedule') must be DoNotSchedule or ScheduleAnyway",
        ],
    ),
    "no line of /etc/hosts": (
        lambda: PodOptionsSpec(
            host_aliases=[{"ip": "ldap.example.org", "hostnames": ["ok.example.org", "192.0.2.1:"]}]
        ),
        [
            "host_aliases[0].ip ('ldap.example.org') must be an address such as 192.0.2.1 or 2001:db8::1",
            (
                "host_aliases[0].hostnames[1] ('192.0.2.1:') must be a name of lower-case letters, digits, - and ., "
                "with a letter or digit at both ends"
            ),
        ],
    ),
    "an autoscaler's behavior": (
        lambda: AvailabilitySpec(
            behavior={
                "scaleDown": {"stabilizationWindowSeconds": 3601, "selectPolicy": "max"},
                "scaleUp": {
                    "policies": [
                        {"type": "Pods", "value": 4, "periodSeconds": 60},
                        {"type": "Percents", "value": 0, "periodSeconds": 1801},
                    ]
                },
            }
        ),
        [
            "behavior.scaleDown.stabilizationWindowSeconds (3601) must be from 0 to 3600",
            "behavior.scaleDown.selectPolicy ('max') must be Disabled, Max or Min",
            "behavior.scaleUp.policies[1].type ('Percents') must be Percent or Pods",
            "behavior.scaleUp.policies[1].value (0) must be from 1 to 2147483647",
            "behavior.scaleUp.policies[1].periodSeconds (1801) must be from 1 to 1800",
        ],
    ),
    "no name servers": (
        lambda: PodOptionsSpec(dns_policy="None"),
        ["dns_config.nameservers is missing with dns_policy"],
    ),
    "what is there twice": (
        lambda: PodOptionsSpec(containers=[A_CONTAINER, A_CONTAINER], volumes=[{"name": "a"}, {"name": "a"}]),
        ["containers[1].name ('mine') is there twice", "volumes[1].name ('a') is there twice"],
    ),
    "variables and mounts that are there twice": (
        lambda: ServerSpec(
            env=[{"name": "A"}, {"name": "A"}],
            volume_mounts=[{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a"}],
        ),
        ["env[1].name ('A') is there twice", "volume_mounts[1].mountPath ('/a') is there twice"],
    ),
    "backups that nobody keeps": (
        lambda: PyPIServerSpec(backup=BackupSpec()),
        ["remote or claim must be given: something has to keep the backups"],
    ),
    "backups in two places": (
        lambda: BackupSpec(remote=REMOTE, claim="copies"),
        ["claim ('copies') cannot be had with remote (s3): one of them keeps the backups"],
    ),
    "backups on the volume itself": (
        lambda: PyPIServerSpec(backup=BackupSpec(claim="pypiserver-packages")),
        ["backup.claim ('pypiserver-packages') must be another than the package volume's: a copy there is lost with"],
    ),
    "backups of a volume for one pod": (
        lambda: PyPIServerSpec(storage=LocalVolumeSpec(access_mode="ReadWriteOncePod"), backup=BACKUP),
        ["backup cannot be had on storage of kind local: the volume is for one pod (ReadWriteOncePod)"],
    ),
    "backups among the packages": (
        lambda: PyPIServerSpec(
            storage=STORE, backup=BackupSpec(remote=STORE.remote.replace(path="pypi-packages/pypiserver/copies"))
        ),
        ["backup.remote.path ('pypi-packages/pypiserver/copies') must not be within the registry's own place"],
    ),
    "backups that a network policy keeps in": (
        lambda: PyPIServerSpec(
            backup=BackupSpec(
                remote=RemoteSpec(
                    type="s3", path="a", options={"provider": "Minio", "endpoint": "https://minio.stores.svc:9000"}
                )
            ),
            network_policy=RegistryNetworkPolicySpec(),
        ),
        ["backup.remote.peers must be given with network_policy: by default minio.stores.svc is not let through"],
    ),
    "a name of a certificate that the drill has no way to": (
        lambda: PyPIServerSpec(backup=BACKUP.replace(drill=DrillSpec(tls_name="pypi.example.org"))),
        ["backup.drill.tls_name ('pypi.example.org') must be left out without gateway_tls"],
    ),
    "a name of a certificate beside an address": (
        lambda: PyPIServerSpec(
            backup=BACKUP.replace(drill=DrillSpec(tls_name="pypi.example.org", url="https://pypi.example.org/simple/")),
            gateway_tls=OWN_CA,
        ),
        ["backup.drill.tls_name ('pypi.example.org') must be left out with url"],
    ),
    "a copy of nothing": (
        CopySpec,
        ["source or lock or bucket must be given: something has to be copied"],
    ),
    "a copy of two": (
        lambda: CopySpec(source="https://a.example.org/simple/", lock=CopyLockSpec(config_map="a", file="uv.lock")),
        ["lock cannot be had with source: one of them is copied"],
    ),
    "a login that a bucket has no use for": (
        lambda: CopySpec(bucket=REMOTE, source_secret="reader"),
        ["source_secret ('reader') must be left out with bucket: its own Secret is bucket.secret"],
    ),
    "a copy of a bucket that a network policy keeps in": (
        lambda: PyPIServerSpec(
            copying=CopySpec(
                bucket=RemoteSpec(
                    type="s3", path="a", options={"provider": "Minio", "endpoint": "https://minio.stores.svc:9000"}
                )
            ),
            network_policy=RegistryNetworkPolicySpec(),
        ),
        ["copying.bucket.peers must be given with network_policy: by default minio.stores.svc is not let through"],
    ),
    "a copy to where it comes from": (
        lambda: COPYING.replace(target="https://old.example.org/simple"),
        ["target ('https://old.example.org/simple') must be another than source"],
    ),
    "what has no effect on a copy": (
        lambda: COPYING.replace(target_index="https://a.example.org/simple/", time_zone="Europe/Vienna"),
        [
            "target_index ('https://a.example.org/simple/') must be left out without target",
            "time_zone ('Europe/Vienna') must be left out without schedule",
        ],
    ),
    "half an environment": (
        lambda: CopyLockSpec(config_map="a", file="uv.lock", pythons=["3.12"]),
        ["platforms must be given with pythons: an environment is both"],
    ),
    "a copy that no certificate lets in": (
        lambda: PyPIServerSpec(copying=COPYING, gateway_tls=OWN_CA),
        ["copying.target must be given with gateway_tls, which answers to the names of its certificate alone"],
    ),
    "a copy that a network policy keeps in": (
        lambda: PyPIServerSpec(
            copying=COPYING.replace(source="http://old.team.svc:8080/simple/"),
            network_policy=RegistryNetworkPolicySpec(),
        ),
        ["copying.peers must be given with network_policy: by default old.team.svc is not let through"],
    ),
    "scratch space beside a bucket": (
        lambda: PyPIServerSpec(
            storage=S3VolumeSpec(bucket="packages"),
            backup=BACKUP.replace(drill=DrillSpec(scratch_storage_class="fast")),
        ),
        ["backup.drill.scratch_storage_class ('fast') cannot be had on storage of kind s3"],
    ),
    "pods on a bucket": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), replicas=3),
        ["replicas (3) must be 0 or 1 on storage of kind s3: the mount knows no locks"],
    ),
    "autoscaler on a volume of one node": (
        lambda: PyPIServerSpec(availability=AvailabilitySpec()),
        ["availability (given) cannot be had on storage of kind local: the volume is one node's"],
    ),
    "autoscaler on a bucket": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), availability=AvailabilitySpec()),
        ["availability (given) cannot be had on storage of kind s3: the mount knows no locks"],
    ),
    "readers where none can be": (
        lambda: PyPIServerSpec(readers=ReadersSpec()),
        ["readers (given) cannot be had on storage of kind local: the volume is one node's"],
    ),
    "readers where every pod publishes": (
        lambda: PyPIServerSpec(storage=SharedVolumeSpec(), readers=ReadersSpec(), replicas=2),
        [
            "readers (given) cannot be had on storage of kind shared: every pod may publish there; use availability",
            "replicas (2) must be left out with readers, whose autoscaler counts them; one pod writes",
        ],
    ),
    "readers that find nobody, and what they cannot share": (
        lambda: PyPIServerSpec(
            storage=S3VolumeSpec(bucket="packages"),
            readers=ReadersSpec(cpu_percent=70),
            pod=PodOptionsSpec(dns_policy="Default"),
            server=ServerSpec(resources=Resources(cpu_request=None)),
            upstream=PUBLIC.replace(cache=UpstreamCacheSpec(existing_claim="cache")),
        ),
        [
            "pod.dns_policy ('Default') must be ClusterFirst with readers: they look the writer's Service up",
            "upstream.cache.existing_claim ('cache') cannot be had with readers, which are several pods",
            "server.resources.cpu_request (None) must be set with readers.cpu_percent: the autoscaler measures",
        ],
    ),
    "two ways to have several pods": (
        lambda: PyPIServerSpec(
            storage=S3VolumeSpec(bucket="packages"), readers=ReadersSpec(), availability=AvailabilitySpec()
        ),
        [
            "availability (given) cannot be had on storage of kind s3: the mount knows no locks",
            "readers (given) must be left out with availability, whose pods all publish",
        ],
    ),
    "a mount that remembers for longer than a writer waits": (
        lambda: S3VolumeSpec(bucket="packages", mount_options=["--no-checksum", "--stat-cache-ttl 60s"]),
        ["mount_options[1] ('--stat-cache-ttl 60s') must be left out: poll_seconds (5) says it, and a writer waits"],
    ),
    "pods that the autoscaler counts": (
        lambda: PyPIServerSpec(storage=SharedVolumeSpec(), availability=AvailabilitySpec(), replicas=1),
        ["replicas (1) must be left out with availability, whose autoscaler counts the pods"],
    ),
    "autoscaler without requests": (
        lambda: PyPIServerSpec(
            storage=SharedVolumeSpec(),
            availability=AvailabilitySpec(cpu_percent=70),
            server=ServerSpec(resources=Resources(cpu_request=None)),
            gateway=GatewaySpec(resources=Resources(cpu_request=None, cpu_limit="1")),
            monitoring=MonitoringSpec(resources=Resources(cpu_request=None)),
            upstream=PUBLIC.replace(resources=Resources(cpu_request=None)),
        ),
        [
            "server.resources.cpu_request (None) must be set with availability.cpu_percent: the autoscaler measures",
            "monitoring.resources.cpu_request (None) must be set with availability.cpu_percent: the autoscaler",
            "upstream.resources.cpu_request (None) must be set with availability.cpu_percent: the autoscaler measures",
        ],
    ),
    "autoscaler that shrinks, budget that keeps nodes from being drained": (
        lambda: AvailabilitySpec(min_replicas=4, max_replicas=3, min_available=4),
        [
            "max_replicas (3) must not be below min_replicas (4)",
            "min_available (4) must be below min_replicas (4): otherwise no pod may be evicted",
        ],
    ),
    "a budget and an autoscaler that say a thing twice": (
        lambda: AvailabilitySpec(cpu_use="1", cpu_percent=70, min_available="10%", max_unavailable=1),
        [
            "cpu_use ('1') must be left out with cpu_percent (70), which says the same",
            "min_available ('10%') must be left out with max_unavailable (1)",
        ],
    ),
    "a budget in percent that keeps nodes from being drained": (
        # Kubernetes rounds up: two of two.
        lambda: AvailabilitySpec(min_available="51%"),
        ["min_available ('51%') must be below min_replicas (2): otherwise no pod may be evicted"],
    ),
    "requests above limits": (
        lambda: Resources(cpu_request="1.5", cpu_limit="1400m", memory_request="1Gi", memory_limit="1G"),
        [
            "cpu_request ('1.5') must not be above cpu_limit (1400m)",
            "memory_request ('1Gi') must not be above memory_limit (1G)",
        ],
    ),
    "uploads beyond the server's scratch space": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), gateway=GatewaySpec(max_upload="2Gi")),
        [
            "server.temporary_size ('20Gi') must hold gateway.concurrent_uploads (20) x gateway.max_upload (2Gi) on",
        ],
    ),
    "upload beyond the volume": (
        lambda: PyPIServerSpec(storage=LocalVolumeSpec(size="500Mi")),
        ["gateway.max_upload ('1Gi') must not be above storage.size (500Mi)"],
    ),
    "uploads beyond the server's memory": (
        lambda: PyPIServerSpec(
            gateway=GatewaySpec(concurrent_uploads=54), server=ServerSpec(resources=Resources(memory_limit="256Mi"))
        ),
        ["server.resources.memory_limit ('256Mi') must be at least 258Mi for gateway.concurrent_uploads (54): 96Mi"],
    ),
    "password where others read, bucket without owner": (
        lambda: PyPIServerSpec(
            storage=S3VolumeSpec(bucket="packages"), auth=AuthSpec(initial_password=True), user_id=None
        ),
        [
            "auth.initial_password (True) cannot be had on storage of kind s3: the password is kept on the package",
            "user_id (None) must be a number on storage of kind s3: the mount names the owner",
        ],
    ),
    "password on a shared volume": (
        lambda: PyPIServerSpec(storage=SharedVolumeSpec(), auth=AuthSpec(initial_password=True)),
        ["auth.initial_password (True) cannot be had on storage of kind shared"],
    ),
    "folder that the driver chooses": (
        lambda: S3VolumeSpec(bucket="packages", prefix="pypi", provisioning="dynamic"),
        ["prefix ('pypi') must be left out with provisioning (dynamic)"],
    ),
    "claim that is there already": (
        lambda: LocalVolumeSpec(
            existing_claim="own", claim_annotations={"a": "b"}, claim_labels={"a": "b"}, storage_class="fast"
        ),
        [
            "claim_annotations (given) must be left out: existing_claim (own) stays as it is",
            "claim_labels (given) must be left out: existing_claim (own) stays as it is",
            "storage_class ('fast') must be left out: existing_claim (own) stays as it is",
        ],
    ),
    "rules without a job": (
        lambda: MonitoringSpec(scrape="annotations"),
        ["rules (True) must be False with scrape (annotations): without a monitor object nobody gives the targets"],
    ),
    "alerts without rules": (
        lambda: MonitoringSpec(rules=False, certificate="wildcard", backup=BackupAlertSpec(cron_job="backup")),
        [
            "rules (False) must be True with certificate (wildcard): an alert about it is a rule",
            "rules (False) must be True with backup (backup): an alert about it is a rule",
        ],
    ),
    "HTTPS on the port of HTTP": (
        lambda: PyPIServerSpec(service=RegistryServiceSpec(port=443), gateway_tls=GatewayTLSSpec()),
        ["gateway_tls.port (443) must be another one: service.port has it"],
    ),
    "TLS that ends twice": (
        lambda: PyPIServerSpec(ingress=RegistryIngressSpec(host=HOST), gateway_tls=GatewayTLSSpec()),
        ["gateway_tls (given) cannot be had with ingress (host pypi.example.org): a controller asks the gateway in"],
    ),
    "an index without TLS, if nobody has said so": (
        lambda: UpstreamIndexSpec(url="http://index.example.org/simple/"),
        ["url ('http://index.example.org/simple/') must begin with https://: others on the way could change it"],
    ),
    "TLS that is said not to be there": (
        lambda: UpstreamIndexSpec(url="https://index.example.org/simple/", plain_http=True),
        ["plain_http (True) must be False with url (https://index.example.org/simple/), which has TLS"],
    ),
    "certificates of nobody, and twice": (
        lambda: UpstreamIndexSpec(
            url="http://index.example.org/", plain_http=True, ca_config_map="a", ca_secret="b", file_hosts=["c", "c"]
        ),
        [
            "file_hosts[1] ('c') is there twice",
            "ca_config_map ('a') must be left out with ca_secret (b)",
            "ca_config_map ('a') must be left out with url (http://index.example.org/), which has no TLS",
            "ca_secret ('b') must be left out with url (http://index.example.org/), which has no TLS",
        ],
    ),
    "an index whose host is too long for a name": (
        lambda: UpstreamIndexSpec(url=f"https://{'a' * 41}/simple/"),
        [f"name (None) must be given with url (https://{'a' * 41}/simple/): {'a' * 41} must have at most 40 charac"],
    ),
    "indexes that cannot be told apart": (
        lambda: UpstreamSpec(
            indexes=[
                UpstreamIndexSpec(url="https://a.example.org/simple/"),
                UpstreamIndexSpec(name="a-example-org", url="https://b.example.org/simple"),
                UpstreamIndexSpec(name="c", url="https://b.example.org/simple/"),
            ]
        ),
        [
            "indexes[1].name ('a-example-org') must be another one than that of indexes[0] (a-example-org)",
            "indexes[2].url ('https://b.example.org/simple/') is there twice: indexes[1] has it",
        ],
    ),
    "names that are private and asked for": (
        lambda: PUBLIC.replace(private_names=["Acme_*"], merge=["torch", "acme.tools"], allow=["acme-x>=1", "acme*"]),
        [
            "merge[1] ('acme.tools') cannot be had with private_names (acme-*): what is private is never asked for",
            "allow[0] ('acme-x>=1') cannot be had with private_names (acme-*): what is private is never asked for",
        ],
    ),
    "what is allowed and denied": (
        lambda: PUBLIC.replace(
            allow=["Django", "torch < 2", "numpy>=2", "numpy", "scipy-*", "six"],
            deny=["django", "torch<2", "num*<1", "scipy*", "six<1"],
        ),
        [
            "allow[0] ('Django') cannot be had with deny (django), which counts more",
            "allow[1] ('torch < 2') cannot be had with deny (torch<2), which counts more",
            "allow[4] ('scipy-*') cannot be had with deny (scipy*), which counts more",
        ],
    ),
    "exempt from nothing": (
        lambda: PUBLIC.replace(no_minimum_age=["acme-*"]),
        ["no_minimum_age (('acme-*',)) must be left out without minimum_age_days: no file is too young then"],
    ),
    "a cache that is never full": (
        lambda: PUBLIC.replace(resources=Resources(ephemeral_storage_limit="9Gi")),
        ["resources.ephemeral_storage_limit ('9Gi') must not be below cache.size (10Gi): the pod is evicted before"],
    ),
    "a claim for the caches of several pods": (
        lambda: PyPIServerSpec(storage=STORE.replace(existing_claim="cache"), readers=ReadersSpec()),
        ["storage.existing_claim ('cache') cannot be had with readers, which are several pods: each has a cache"],
    ),
    "readers by requests that the store's containers lack": (
        lambda: PyPIServerSpec(
            storage=STORE.replace(
                rclone=RcloneSpec(resources=Resources(cpu_request=None)),
                fetching=FetchingSpec(resources=Resources(cpu_request=None)),
            ),
            readers=ReadersSpec(cpu_percent=50),
        ),
        [
            "storage.rclone.resources.cpu_request (None) must be set with readers.cpu_percent: the autoscaler",
            "storage.fetching.resources.cpu_request (None) must be set with readers.cpu_percent: the autoscaler",
        ],
    ),
    "several pods, a password and a rollout on a store": (
        lambda: PyPIServerSpec(
            storage=STORE,
            replicas=2,
            auth=AuthSpec(initial_password=True),
            rollout=RolloutSpec(max_surge=1),
        ),
        [
            "replicas (2) must be 0 or 1 on storage of kind object-store: stores know no locks that all of them have",
            "rollout.max_surge (1) cannot be had on storage of kind object-store, where the old pod ends first",
            "auth.initial_password (True) cannot be had on storage of kind object-store: the password would be kept in",
        ],
    ),
    "uploads that the cache of a store cannot hold": (
        lambda: PyPIServerSpec(storage=STORE.replace(size="20Gi")),
        ["storage.size ('20Gi') must be larger for gateway.concurrent_uploads (20) x gateway.max_upload (1Gi): up"],
    ),
    "a store's cache that is never full": (
        lambda: STORE.replace(fetching=FetchingSpec(resources=Resources(ephemeral_storage_limit="9Gi"))),
        ["fetching.resources.ephemeral_storage_limit ('9Gi') must not be below size (50Gi): the pod is evicted before"],
    ),
    "parts of uploads to a store that has none": (
        lambda: ObjectStoreSpec(
            remote=RemoteSpec(type="azureblob", path="packages", secret_options=["key"]), parts_max_age="2d"
        ),
        ["parts_max_age ('2d') must be left out with remote.type (azureblob): it is for stores of type s3"],
    ),
    "a store of the cluster that no policy lets through": (
        lambda: PyPIServerSpec(
            storage=ObjectStoreSpec(
                remote=RemoteSpec(
                    type="s3",
                    path="packages",
                    options={"provider": "Minio", "endpoint": "http://minio.tools.svc:9000"},
                    plain_http=True,
                )
            ),
            network_policy=RegistryNetworkPolicySpec(),
        ),
        ["storage.remote.peers must be given with network_policy: by default minio.tools.svc is not let through"],
    ),
    "a key for everybody to read": (
        lambda: ObjectStoreSpec.model_validate(
            {"remote": {"type": "s3", "path": "packages", "options": {"provider": "AWS", "secret_access_key": "abc"}}}
        ),
        ["remote.options.secret_access_key ('secret_access_key') cannot stand here, where whoever reads the manifests"],
    ),
    "a store without TLS, if nobody has said so": (
        lambda: ObjectStoreSpec.model_validate(
            {
                "remote": {
                    "type": "s3",
                    "path": "packages",
                    "options": {"provider": "Minio", "endpoint": "http://a:9000"},
                }
            }
        ),
        ["remote.options.endpoint ('http://a:9000') must begin with https://, or plain_http must say that nothing on"],
    ),
    "a cache of several pods": (
        lambda: PyPIServerSpec(
            storage=SharedVolumeSpec(), upstream=PUBLIC.replace(cache=UpstreamCacheSpec(existing_claim="cache"))
        ),
        ["upstream.cache.existing_claim ('cache') cannot be had on storage of kind shared, where several pods run"],
    ),
    "a proxy that no policy lets through": (
        lambda: PyPIServerSpec(
            upstream=PUBLIC.replace(proxy="http://proxy.example.org:3128"), network_policy=RegistryNetworkPolicySpec()
        ),
        ["upstream.peers must be given with proxy (http://proxy.example.org:3128) and network_policy: the proxy's own"],
    ),
    "an index of the cluster that no policy lets through": (
        lambda: PyPIServerSpec(
            upstream=UpstreamSpec(indexes=[UpstreamIndexSpec(url="https://nexus.tools.svc/simple/")]),
            network_policy=RegistryNetworkPolicySpec(),
        ),
        ["upstream.peers must be given with network_policy: by default nexus.tools.svc is not let through, which is"],
    ),
    "host that is there twice": (
        lambda: RegistryIngressSpec(host="a.b", further_hosts=["c.d", "a.b", "c.d"]),
        [
            "further_hosts[2] ('c.d') is there twice",
            "further_hosts (('c.d', 'a.b', 'c.d')) must not name host (a.b) again",
        ],
    ),
    "another type of Service": (
        lambda: RegistryServiceSpec(
            node_port=30080,
            external_traffic_policy="Local",
            load_balancer_class="a/b",
            load_balancer_source_ranges=["192.0.2.0/24"],
            load_balancer_ip="192.0.2.1",
            allocate_load_balancer_node_ports=False,
        ),
        [
            "node_port (30080) needs the type NodePort or LoadBalancer (type is ClusterIP)",
            "external_traffic_policy ('Local') needs the type NodePort or LoadBalancer (type is ClusterIP)",
            "load_balancer_class ('a/b') needs the type LoadBalancer (type is ClusterIP)",
            "load_balancer_source_ranges (('192.0.2.0/24',)) needs the type LoadBalancer (type is ClusterIP)",
            "load_balancer_ip ('192.0.2.1') needs the type LoadBalancer (type is ClusterIP)",
            "allocate_load_balancer_node_ports (False) needs the type LoadBalancer (type is ClusterIP)",
        ],
    ),
    "a port of the nodes that answers the probes alone": (
        lambda: PyPIServerSpec(
            service=RegistryServiceSpec(type="NodePort", node_port=30443), gateway_tls=GatewayTLSSpec()
        ),
        ["service.node_port (30443) must be left out with gateway_tls, where it leads to what answers the probes"],
    ),
    "a port of the nodes of a Service that has none": (
        lambda: PyPIServerSpec(gateway_tls=GatewayTLSSpec(node_port=30443)),
        ["gateway_tls.node_port (30443) needs the type NodePort or LoadBalancer (service.type is ClusterIP)"],
    ),
    "families": (
        lambda: RegistryServiceSpec(ip_families=["IPv4", "IPv6"]),
        ["ip_families (('IPv4', 'IPv6')) must be one unless ip_family_policy is PreferDualStack or"],
    ),
    "the same family": (
        lambda: RegistryServiceSpec(ip_families=["IPv4", "IPv4"], ip_family_policy="PreferDualStack"),
        ["ip_families[1] ('IPv4') is there twice"],
    ),
    "a gateway that its verdicts would have killed": (
        lambda: PyPIServerSpec(gateway=GatewaySpec(resources=Resources(memory_request=None, memory_limit="127Mi"))),
        ["resources.memory_limit ('127Mi') must be at least 128Mi: 96Mi for cached verdicts, which stand in memory"],
    ),
    "several concerns at once": (
        lambda: PyPIServerSpec(
            replicas=2,
            storage=LocalVolumeSpec(size="500Mi"),
            ingress=RegistryIngressSpec(host=HOST),
            gateway_tls=GatewayTLSSpec(port=80),
        ),
        ["replicas (2)", "gateway.max_upload ('1Gi')", "gateway_tls.port (80)", "gateway_tls (given)"],
    ),
    "rules that take nothing": (
        lambda: RetentionRuleSpec(projects=["acme-*"]),
        ["keep_versions (None) must be given, or keep_days, keep_prereleases or final_replaces_prereleases: nothing"],
    ),
    "a last version that is kept anyway": (
        lambda: RetentionRuleSpec(keep_versions=3, keep_last=False),
        ["keep_last (False) must be left out with keep_versions (3): some version is always kept"],
    ),
    "finals that replace what is not kept": (
        lambda: RetentionRuleSpec(keep_prereleases=0, final_replaces_prereleases=True),
        ["final_replaces_prereleases (True) must be left out with keep_prereleases (0): none is kept anyway"],
    ),
    "rules and pins in each other's way": (
        lambda: RetentionSpec(
            rules=[
                RetentionRuleSpec(projects=["Acme-*", "tools"], keep_versions=1),
                RetentionRuleSpec(projects=["acme_web"], keep_days=3),
                RetentionRuleSpec(keep_versions=5),
                RetentionRuleSpec(projects=["late"], keep_versions=5),
                RetentionRuleSpec(keep_versions=7),
            ],
            pinned=["TOOLS", "other", "other"],
            lock_config_maps=["locks", "locks"],
            yank_reason="old",
        ),
        [
            "pinned[2] ('other') is there twice",
            "lock_config_maps[1] ('locks') is there twice",
            "rules[0].projects[1] ('tools') has no effect with pinned (tools): no version of it may go",
            "rules[1].projects[0] ('acme_web') is never reached: rules[0] is about it (acme-*)",
            "rules[3].projects (['late']) must stand before rules[2], which is about every project that is left",
            "rules[4].projects ([]) must stand before rules[2], which is about every project that is left",
            "rules[1].keep_days (3) must not be below minimum_age_days (7), before which nothing goes",
            "yank_reason ('old') must be left out with action (remove)",
        ],
    ),
    "an audit trail in a bucket": (
        lambda: PyPIServerSpec(storage=STORE, audit=AuditSpec(on_volume=True)),
        ["audit.on_volume (True) cannot be had on storage of kind object-store: nothing can be appended to an object"],
    ),
    "removal by a server that removes nothing": (
        lambda: PyPIServerSpec(retention=RETENTION.replace(dry_run=False)),
        ["retention.action ('remove') needs server.allow_removal (False): the server removes nothing then; set that"],
    ),
    "certificates of a way without TLS": (
        lambda: PyPIServerSpec(retention=RETENTION.replace(tls_name="pypi.example.org", ca_config_map="ca")),
        [
            "retention.tls_name ('pypi.example.org') must be left out without gateway_tls: the way there has no TLS",
            "retention.ca_config_map ('ca') must be left out without gateway_tls: the way there has no TLS",
        ],
    ),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_all_that_cannot_work_together_is_refused_at_once(case: str) -> None:
    make, lines = CONFLICTS[case]
    with pytest.raises(SpecError) as refused:
        make()
    said = str(refused.value).split("\n  ")[1:]
    assert len(said) == len(lines)
    assert [line for line, start in zip(said, lines, strict=True) if not line.startswith(start)] == []


def test_a_spec_is_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("storage: {kind: shared, size: 50Gi}\nreplicas: 2\nauth: {anonymous_reads: true}\n")
    assert PyPIServerSpec.from_yaml(file) == PyPIServerSpec(
        storage=SharedVolumeSpec(size="50Gi"), replicas=2, auth=AuthSpec(anonymous_reads=True)
    )


def test_fields_that_were_elsewhere_are_found(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("max_upload: 2Gi\nservice:\n  Port: 80\nhost: pypi.example.org\n")
    with pytest.raises(SpecError) as refused:
        PyPIServerSpec.from_yaml(file)
    assert str(refused.value).replace(str(file), "registry.yaml").split("\n  ")[1:] == [
        "registry.yaml:1: max_upload ('2Gi') is no field here; did you mean gateway.max_upload?",
        "registry.yaml:3: service.Port (80) is no field here; did you mean port?",
        "registry.yaml:4: host ('pypi.example.org') is no field here; did you mean ingress.host?",
    ]


def test_the_schema_for_editors_takes_every_value_that_a_spec_takes() -> None:
    schema = Draft7Validator(schema_of(PyPIServerSpec))
    for (model, name), (spec, value) in OTHER_VALUES.items():
        made = _with(spec, model, name, value)
        assert [*schema.iter_errors(made.model_dump(mode="json"))] == [], (model, name)


def test_the_json_schema_knows_every_concern() -> None:
    schema = PyPIServerSpec.model_json_schema()
    assert set(schema["properties"]) == set(PyPIServerSpec.model_fields)
    assert schema["additionalProperties"] is False
