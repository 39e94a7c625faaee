"""A private PyPI on Kubernetes, as cdk8s constructs.

`PyPIServer` is the registry; its spec has a field for each concern. `KustomizeApp` writes charts as Kustomize folders.
"""

# First, since it is the half of loading that needs no Node.js: an app may have that started meanwhile.
from .spec import Resources, Spec  # isort: split

from .alerts import BackupAlertSpec
from .auth import AuthSpec
from .availability import Availability, AvailabilitySpec
from .exposure import CertificateSpec, Ingress, IngressSpec, Service, ServiceSpec, TLSSpec
from .gateway import Gateway, GatewaySpec
from .kustomize import KustomizeApp
from .metadata import Metadata
from .monitoring import Monitoring, MonitoringSpec
from .namespace import NamespaceChart, NamespaceSpec
from .registry import PyPIServer, PyPIServerChart, PyPIServerSpec
from .server import Server, ServerSpec
from .storage import LocalVolume, LocalVolumeSpec, S3Volume, S3VolumeSpec, SharedVolume, SharedVolumeSpec
from .tls import GatewayCertificateSpec, GatewayTLSSpec

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
    "Ingress",
    "IngressSpec",
    "KustomizeApp",
    "LocalVolume",
    "LocalVolumeSpec",
    "Metadata",
    "Monitoring",
    "MonitoringSpec",
    "NamespaceChart",
    "NamespaceSpec",
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
    "TLSSpec",
]
