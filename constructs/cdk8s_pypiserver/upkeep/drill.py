"""The restore drill: how the last backup is tried."""

from typing import Annotated

from pydantic import Field

from cdk8s_pypiserver.base.addresses import IndexUrl
from cdk8s_pypiserver.base.fields import Bytes, Host, Name
from cdk8s_pypiserver.base.model import Resources, Spec
from cdk8s_pypiserver.base.schedules import Schedule
from cdk8s_pypiserver.monitoring.alerts import Age


class DrillSpec(Spec):
    """How the last backup is tried: it is restored into scratch space and served, and each page and hash compared."""

    schedule: Schedule = "37 4 * * 0"
    """When it runs."""
    scratch_size: Bytes = "20Gi"
    """Room for what is restored: all packages, and 1 GiB for pages and METADATA."""
    scratch_storage_class: Name | None = None
    """Storage class of a volume that is made for each run; the node's own disk (emptyDir) if none is named."""
    credentials_secret: Name | None = None
    """Secret with the keys `username` and `password` of a reader; `<name>-drill` by default. Without it nobody is
    named, which does where reads are anonymous."""
    url: IndexUrl | None = None
    """Address of the registry; its Service by default, with HTTPS where there is `gateway_tls`."""
    tls_name: Host | None = None
    """Name that the certificate of `gateway_tls` is for; by default the first that is asked for there
    (`certificate.hosts`), else the Service's."""
    ca_config_map: Name | None = None
    """ConfigMap whose key `ca.crt` has the certificates by which the registry is known; by default, with `gateway_tls`
    and without `url`, the Secret's own `ca.crt`, as cert-manager writes it, else those of the image."""
    max_age: Age = "8d"
    """How long ago the last drill that proved a backup may be, before there is an alert."""
    deadline_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = 6 * 3600
    """Seconds after which a run is ended."""
    resources: Resources = Resources(memory_request="256Mi", memory_limit="1Gi")
    """Requests and limits."""
