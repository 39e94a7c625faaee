"""Settings that are right one by one and cannot work together: each is refused with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .gateway import METRICS_PORT
from .spec import quantity
from .storage import LocalVolumeSpec, S3VolumeSpec, SharedVolumeSpec

if TYPE_CHECKING:
    from .registry import PyPIServerSpec

_ONE_WRITER = {
    LocalVolumeSpec: "the volume is one node's (ReadWriteOnce), and a second pod would wait for it for ever",
    S3VolumeSpec: "the mount knows no locks, so two pods could both accept the same file name",
}


def refuse_what_cannot_work(spec: PyPIServerSpec) -> None:
    """Raise for the first combination that cannot work.

    Raises:
        ValueError: names the fields, their values and the reason.
    """
    _second_writer(spec)
    _autoscaler_without_requests(spec)
    _scratch_below_the_uploads(spec)
    _password_where_others_read(spec)
    _mount_without_owner(spec)
    _port_taken_twice(spec)
    _tls_ends_twice(spec)


def _second_writer(spec: PyPIServerSpec) -> None:
    if isinstance(spec.storage, SharedVolumeSpec):
        return
    kind, reason = type(spec.storage).__name__, _ONE_WRITER[type(spec.storage)]
    if spec.replicas > 1:
        raise ValueError(f"replicas ({spec.replicas}) must be 0 or 1 on {kind}: {reason}; use SharedVolumeSpec")
    if spec.availability:
        raise ValueError(
            f"availability (min_replicas={spec.availability.min_replicas}) cannot be had on {kind}: {reason}; "
            "use SharedVolumeSpec"
        )


def _autoscaler_without_requests(spec: PyPIServerSpec) -> None:
    if not spec.availability:
        return
    for container, resources in (("server", spec.server.resources), ("gateway", spec.gateway.resources)):
        if resources.cpu_request is None:
            raise ValueError(
                f"{container}.resources.cpu_request (None) must be set with availability: "
                "the autoscaler measures CPU use against the request"
            )


def _scratch_below_the_uploads(spec: PyPIServerSpec) -> None:
    upload, uploads, size = (
        quantity(spec.gateway.max_upload),
        spec.gateway.concurrent_uploads,
        spec.server.temporary_size,
    )
    # A bucket gets a file when it is whole; another volume takes it as it comes.
    if isinstance(spec.storage, S3VolumeSpec) and quantity(size) < uploads * upload:
        raise ValueError(
            f"server.temporary_size ({size}) must hold gateway.concurrent_uploads ({uploads}) x "
            f"gateway.max_upload ({spec.gateway.max_upload}) on S3VolumeSpec: the pod is evicted when /tmp outgrows it"
        )
    if quantity(spec.storage.size) < upload:
        raise ValueError(
            f"gateway.max_upload ({spec.gateway.max_upload}) must not be above storage.size ({spec.storage.size}): "
            "such an upload could never be stored"
        )


def _password_where_others_read(spec: PyPIServerSpec) -> None:
    if spec.auth.initial_password and not isinstance(spec.storage, LocalVolumeSpec):
        raise ValueError(
            f"auth.initial_password (True) needs LocalVolumeSpec (got {type(spec.storage).__name__}): "
            "the password is kept on the package volume, which others than this one pod can read there"
        )


def _mount_without_owner(spec: PyPIServerSpec) -> None:
    if isinstance(spec.storage, S3VolumeSpec) and spec.user_id is None:
        raise ValueError("user_id (None) must be a number on S3VolumeSpec: the mount names the owner of its files")


def _port_taken_twice(spec: PyPIServerSpec) -> None:
    service = spec.service
    if spec.monitoring and service.port == METRICS_PORT:
        raise ValueError(f"service.port ({service.port}) must be another one with monitoring: it is scraped there")
    if not spec.gateway.tls:
        return
    if service.https_port == service.port:
        raise ValueError(f"service.https_port ({service.https_port}) must not be service.port: that one stays as it is")
    if spec.monitoring and service.https_port == METRICS_PORT:
        raise ValueError(
            f"service.https_port ({service.https_port}) must be another one with monitoring: it is scraped there"
        )


def _tls_ends_twice(spec: PyPIServerSpec) -> None:
    if spec.gateway.tls and spec.ingress:
        raise ValueError(
            f"gateway.tls cannot be had with ingress (host={spec.ingress.host}): a controller asks the gateway in the "
            "clear, which then answers nobody; end TLS at the Ingress (ingress.tls), or leave the Ingress out"
        )
