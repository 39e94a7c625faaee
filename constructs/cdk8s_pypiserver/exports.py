"""All that the package gives its users, which needs Node.js (jsii)."""

# First what needs no Node.js: an app may have that started meanwhile.
from .access.audit import Audit, AuditSpec
from .access.external_auth import ExternalAuth, ExternalAuthSpec
from .access.permission_rules import PermissionGroupSpec, PermissionRuleSpec
from .base.identity import Identity
from .base.model import Resources, Spec
from .base.problems import Problem, SpecError
from .base.remote import RemoteSpec
from .monitoring.alerts import BackupAlertSpec
from .monitoring.socket import Alert, MonitoringSocket, Panel
from .pod.container import ContainerSpec, ProbeSpec
from .pod.options import PodOptionsSpec
from .pod.rollout import RolloutSpec
from .pod.template import Pod
from .upkeep.copy_lock import CopyLockSpec
from .upkeep.drill import DrillSpec
from .upkeep.restore import RestoreSpec
from .upkeep.retention_rules import RetentionRuleSpec
from .upstream.cache import UpstreamCacheSpec
from .upstream.indexes import UpstreamIndexSpec

# isort: split
from .access.attestations import (
    Attestations,
    AttestationsSpec,
    AttestedPublisherSpec,
    CircleCIIdentitySpec,
    GitHubIdentitySpec,
    GitLabIdentitySpec,
    GoogleIdentitySpec,
)
from .access.credentials import AuthSpec, Credentials
from .access.ldap import LDAP, LDAPSpec
from .access.network import Network
from .access.network_policy import NetworkPolicy, RegistryNetworkPolicySpec
from .access.permissions import Permissions, PermissionsSpec
from .access.trusted_publishing import TrustedPublisherSpec, TrustedPublishing, TrustedPublishingSpec
from .base.namespace import NamespaceChart, RegistryNamespaceSpec
from .base.objects import KubernetesObject
from .exposure.gateway_tls import GatewayCertificateSpec, GatewayTLS, GatewayTLSSpec
from .exposure.ingress import Ingress, IngressCertificateSpec, IngressTLSSpec, RegistryIngressSpec
from .exposure.service import RegistryServiceSpec, Service
from .kustomize.app import KustomizeApp
from .kustomize.rendering import Rendering
from .monitoring.counting import Monitoring, MonitoringSpec
from .pod.gateway import Gateway, GatewaySpec
from .pod.server import Server, ServerSpec
from .pod.service_account import ServiceAccountSpec
from .registry import PyPIServer, PyPIServerChart, VolumeChart
from .scaling.availability import Availability, AvailabilitySpec
from .scaling.readers import Readers, ReadersSpec
from .spec import PyPIServerSpec
from .storage.cleanup import Cleanup, CleanupSpec
from .storage.local import LocalVolume, LocalVolumeSpec
from .storage.mode import Storage, StorageSpec, Volume, VolumeSpec
from .storage.object_store import FetchingSpec, ObjectStore, ObjectStoreSpec, RcloneSpec
from .storage.s3 import S3Volume, S3VolumeSpec
from .storage.shared import SharedVolume, SharedVolumeSpec
from .upkeep.backup import Backup, BackupSpec
from .upkeep.copying import CopyJob, CopySpec
from .upkeep.retention import Retention, RetentionSpec
from .upstream.sidecar import Upstream, UpstreamSpec

__all__ = [
    "LDAP",
    "Alert",
    "Attestations",
    "AttestationsSpec",
    "AttestedPublisherSpec",
    "Audit",
    "AuditSpec",
    "AuthSpec",
    "Availability",
    "AvailabilitySpec",
    "Backup",
    "BackupAlertSpec",
    "BackupSpec",
    "CircleCIIdentitySpec",
    "Cleanup",
    "CleanupSpec",
    "ContainerSpec",
    "CopyJob",
    "CopyLockSpec",
    "CopySpec",
    "Credentials",
    "DrillSpec",
    "ExternalAuth",
    "ExternalAuthSpec",
    "FetchingSpec",
    "Gateway",
    "GatewayCertificateSpec",
    "GatewaySpec",
    "GatewayTLS",
    "GatewayTLSSpec",
    "GitHubIdentitySpec",
    "GitLabIdentitySpec",
    "GoogleIdentitySpec",
    "Identity",
    "Ingress",
    "IngressCertificateSpec",
    "IngressTLSSpec",
    "KubernetesObject",
    "KustomizeApp",
    "LDAPSpec",
    "LocalVolume",
    "LocalVolumeSpec",
    "Monitoring",
    "MonitoringSocket",
    "MonitoringSpec",
    "NamespaceChart",
    "Network",
    "NetworkPolicy",
    "ObjectStore",
    "ObjectStoreSpec",
    "Panel",
    "PermissionGroupSpec",
    "PermissionRuleSpec",
    "Permissions",
    "PermissionsSpec",
    "Pod",
    "PodOptionsSpec",
    "ProbeSpec",
    "Problem",
    "PyPIServer",
    "PyPIServerChart",
    "PyPIServerSpec",
    "RcloneSpec",
    "Readers",
    "ReadersSpec",
    "RegistryIngressSpec",
    "RegistryNamespaceSpec",
    "RegistryNetworkPolicySpec",
    "RegistryServiceSpec",
    "RemoteSpec",
    "Rendering",
    "Resources",
    "RestoreSpec",
    "Retention",
    "RetentionRuleSpec",
    "RetentionSpec",
    "RolloutSpec",
    "S3Volume",
    "S3VolumeSpec",
    "Server",
    "ServerSpec",
    "Service",
    "ServiceAccountSpec",
    "SharedVolume",
    "SharedVolumeSpec",
    "Spec",
    "SpecError",
    "Storage",
    "StorageSpec",
    "TrustedPublisherSpec",
    "TrustedPublishing",
    "TrustedPublishingSpec",
    "Upstream",
    "UpstreamCacheSpec",
    "UpstreamIndexSpec",
    "UpstreamSpec",
    "Volume",
    "VolumeChart",
    "VolumeSpec",
]
