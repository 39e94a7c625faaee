"""A private PyPI on Kubernetes, as cdk8s constructs.

`PyPIServer` is the registry; its spec has a field for each concern. `KustomizeApp` writes charts as Kustomize folders.
"""

# First, since it is the half of loading that needs no Node.js: an app may have that started meanwhile.
from .base.model import Resources, Spec  # isort: split

from .access.credentials import AuthSpec
from .base.identity import Identity
from .base.namespace import NamespaceChart, NamespaceSpec
from .base.problems import Problem, SpecError
from .exposure.addresses import CertificateSpec, Ingress, IngressSpec, Service, ServiceSpec, TLSSpec
from .kustomize.app import KustomizeApp
from .monitoring.alerts import BackupAlertSpec
from .monitoring.counting import Monitoring, MonitoringSpec
from .pod.gateway import Gateway, GatewaySpec
from .pod.server import Server, ServerSpec
from .pod.tls import GatewayCertificateSpec, GatewayTLSSpec
from .registry import PyPIServer, PyPIServerChart
from .scaling.availability import Availability, AvailabilitySpec
from .spec import PyPIServerSpec
from .storage.volumes import LocalVolume, LocalVolumeSpec, S3Volume, S3VolumeSpec, SharedVolume, SharedVolumeSpec

__all__ = [
    "AuthSpec",
    "Availability",
    "AvailabilitySpec",
    "BackupAlertSpec",
    "CertificateSpec",
    "Gateway",
    "GatewayCertificateSpec",
    "GatewaySpec",
    "GatewayTLSSpec",
    "Identity",
    "Ingress",
    "IngressSpec",
    "KustomizeApp",
    "LocalVolume",
    "LocalVolumeSpec",
    "Monitoring",
    "MonitoringSpec",
    "NamespaceChart",
    "NamespaceSpec",
    "Problem",
    "PyPIServer",
    "PyPIServerChart",
    "PyPIServerSpec",
    "Resources",
    "S3Volume",
    "S3VolumeSpec",
    "Server",
    "ServerSpec",
    "Service",
    "ServiceSpec",
    "SharedVolume",
    "SharedVolumeSpec",
    "Spec",
    "SpecError",
    "TLSSpec",
]
