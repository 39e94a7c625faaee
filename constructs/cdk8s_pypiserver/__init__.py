"""A private PyPI on Kubernetes, as cdk8s constructs.

`PyPIServer` is the registry; its spec has a field for each concern. `KustomizeApp` writes charts as Kustomize folders.
"""

# First, since it is the half of loading that needs no Node.js: an app may have that started meanwhile.
from .base.model import Resources, Spec  # isort: split

from .access.credentials import AuthSpec, Credentials
from .access.network import Network
from .access.network_policy import NetworkPolicy, NetworkPolicySpec
from .base.identity import Identity
from .base.namespace import NamespaceChart, NamespaceSpec
from .base.objects import KubernetesObject
from .base.problems import Problem, SpecError
from .exposure.gateway_tls import GatewayCertificateSpec, GatewayTLS, GatewayTLSSpec
from .exposure.ingress import Ingress, IngressCertificateSpec, IngressTLSSpec, RegistryIngressSpec
from .exposure.service import RegistryServiceSpec, Service
from .kustomize.app import KustomizeApp
from .monitoring.alerts import BackupAlertSpec
from .monitoring.counting import Monitoring, MonitoringSpec
from .monitoring.socket import Alert, MonitoringSocket, Panel
from .pod.container import ContainerSpec, ProbeSpec
from .pod.gateway import Gateway, GatewaySpec
from .pod.options import PodOptionsSpec
from .pod.rollout import RolloutSpec
from .pod.server import Server, ServerSpec
from .pod.service_account import ServiceAccountSpec
from .pod.template import Pod
from .registry import PyPIServer, PyPIServerChart, VolumeChart
from .scaling.availability import Availability, AvailabilitySpec
from .spec import PyPIServerSpec
from .storage.local import LocalVolume, LocalVolumeSpec
from .storage.mode import StorageSpec, Volume
from .storage.s3 import S3Volume, S3VolumeSpec
from .storage.shared import SharedVolume, SharedVolumeSpec

__all__ = [
    "Alert",
    "AuthSpec",
    "Availability",
    "AvailabilitySpec",
    "BackupAlertSpec",
    "ContainerSpec",
    "Credentials",
    "Gateway",
    "GatewayCertificateSpec",
    "GatewaySpec",
    "GatewayTLS",
    "GatewayTLSSpec",
    "Identity",
    "Ingress",
    "IngressCertificateSpec",
    "IngressTLSSpec",
    "KubernetesObject",
    "KustomizeApp",
    "LocalVolume",
    "LocalVolumeSpec",
    "Monitoring",
    "MonitoringSocket",
    "MonitoringSpec",
    "NamespaceChart",
    "NamespaceSpec",
    "Network",
    "NetworkPolicy",
    "NetworkPolicySpec",
    "Panel",
    "Pod",
    "PodOptionsSpec",
    "ProbeSpec",
    "Problem",
    "PyPIServer",
    "PyPIServerChart",
    "PyPIServerSpec",
    "RegistryIngressSpec",
    "RegistryServiceSpec",
    "Resources",
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
    "StorageSpec",
    "Volume",
    "VolumeChart",
]
