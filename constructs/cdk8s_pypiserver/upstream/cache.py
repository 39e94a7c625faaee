"""The volume where files of upstream are kept."""

from cdk8s_pypiserver.base.caching import CacheSize, bytes_of_files
from cdk8s_pypiserver.base.fields import Name
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.pod.hardening import scratch

DIRECTORY = "/var/cache/pypiserver"
"""As in runtime/gateway/server-upstream.conf."""
VOLUME = "upstream-cache"


class UpstreamCacheSpec(Spec):
    """Where files of upstream are kept: what has not been used for longest goes first.

    Each pod has a cache of its own, so that none depends on another; a file is fetched once a pod.
    """

    size: CacheSize = "10Gi"
    """Size of the volume. Files take nine tenths of it, less 512 MiB for records and for what is being fetched. A
    bound on the node's disk, not a reservation, where no claim is named."""
    existing_claim: Name | None = None
    """Claim that is there already, for a cache that outlives the pod; only where one pod runs at a time. It should be a
    disk: nginx reads from it, and hangs where it hangs. Without one the cache is on the node's disk, empty when a new
    pod starts."""

    @property
    def bytes_of_files(self) -> int:
        """How many bytes the files may take."""
        return bytes_of_files(self.size)

    def volume(self) -> Manifest:
        """Return the volume of the pod."""
        if self.existing_claim is None:
            return scratch(VOLUME, self.size)
        return {"name": VOLUME, "persistentVolumeClaim": {"claimName": self.existing_claim}}
