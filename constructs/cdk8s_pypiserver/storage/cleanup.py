"""The CronJob that ends what uploads have left unfinished in a bucket, which no listing of files shows."""

from constructs import Construct

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.fields import Image
from cdk8s_pypiserver.base.identity import KEPT, Identity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources, Spec
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.base.remote import BEHAVIOUR
from cdk8s_pypiserver.base.schedules import Schedule
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.monitoring.alerts import Age
from cdk8s_pypiserver.pod.hardening import hardened, mount, requirements, scratch

COMPONENT = "cleanup"
_STORE = "store"
_DEADLINE_SECONDS = 600
_END = "\N{FULLWIDTH SOLIDUS}"
"""A slash as rclone writes it in a name."""


class CleanupSpec(Spec):
    """What ends the multipart uploads that a killed GeeseFS has left in the bucket.

    GeeseFS ends those of the whole bucket that are two days old (--multipart-age), but only when it starts.
    """

    schedule: Schedule = "41 3 * * *"
    """When it does."""
    max_age: Age = "24h"
    """How old an upload must be: longer than the longest one takes."""
    image: Image = images.STORE
    """Image whose entry point is rclone."""
    resources: Resources = Resources(cpu_request="10m", memory_request="32Mi", memory_limit="256Mi")
    """Requests and limits."""


class Cleanup(KubernetesObject):
    """The CronJob `<name>-cleanup`."""

    def __init__(  # noqa: PLR0913
        self,
        scope: Construct,
        id_: str,
        *,
        spec: CleanupSpec,
        identity: Identity,
        user: int,
        bucket: str,
        folder: str | None,
        secret: str,
    ) -> None:
        """Make it.

        Args:
            scope: The construct that it belongs to.
            id_: Name of it in its scope.
            spec: The spec.
            identity: Whose bucket it is.
            user: uid and gid of its pods.
            bucket: Name of the bucket.
            folder: Folder that holds the packages; None where the driver chooses it, for all of the bucket.
            secret: Name of the driver's Secret.
        """
        labels = {**identity.labels, **identity.selector_of(COMPONENT)}
        metadata = {"labels": labels, "annotations": identity.annotations or None}
        pod = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "runAsGroup": user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(spec, bucket, folder, secret)],
            "volumes": [scratch("tmp", "64Mi")],
        }
        job = {
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "backoffLimit": 1,
            "template": {"metadata": metadata, "spec": pod},
        }
        content = {
            "spec": {
                "schedule": spec.schedule,
                "concurrencyPolicy": "Forbid",
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {"metadata": metadata, "spec": job},
            }
        }
        super().__init__(
            scope,
            id_,
            api_version="batch/v1",
            kind="CronJob",
            identity=identity,
            suffix=COMPONENT,
            annotations=KEPT,
            content=lambda: content,
        )


def _container(spec: CleanupSpec, bucket: str, folder: str | None, secret: str) -> Manifest:
    prefix = f"RCLONE_CONFIG_{_STORE.upper()}_"
    values: dict[str, str] = {
        **BEHAVIOUR,
        "BUCKET": bucket,
        **({"FOLDER": folder} if folder else {}),
        f"{prefix}TYPE": "s3",
        f"{prefix}PROVIDER": "Other",
        # rclone takes a slash from the end of a path, and then all that begins with it: `pypi-old` with `pypi`. So the
        # slash is written as one of a name, which this encoding, unlike that of S3, puts back as it is.
        **({f"{prefix}ENCODING": "InvalidUtf8,Dot"} if folder else {}),
    }
    # The keys of the driver's Secret (k8s-csi-s3, pkg/s3/client.go).
    keys = {
        "ACCESS_KEY_ID": "accessKeyID",
        "SECRET_ACCESS_KEY": "secretAccessKey",
        "ENDPOINT": "endpoint",
        "REGION": "region",
    }
    environment = variables(values)
    for option, key in keys.items():
        reference = {"name": secret, "key": key, "optional": True if key == "region" else None}
        environment.append({"name": f"{prefix}{option}", "valueFrom": {"secretKeyRef": reference}})
    place = f"{_STORE}:$(BUCKET)" + (f"/$(FOLDER){_END}" if folder else "")
    return {
        "name": COMPONENT,
        "image": spec.image,
        "args": ["backend", "cleanup", place, "-o", f"max-age={spec.max_age}", "-v"],
        "env": sorted(environment, key=lambda each: str(each["name"])),
        "securityContext": hardened(),
        "resources": requirements(spec.resources),
        "volumeMounts": [mount("tmp", "/tmp")],  # noqa: S108 - of the container
    }
