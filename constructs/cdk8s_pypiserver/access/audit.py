"""The audit trail: who published, yanked or removed what, and what was refused."""

from typing import TYPE_CHECKING

from cdk8s_pypiserver.base.model import Spec

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets


class AuditSpec(Spec):
    """Lines of JSON on the server's standard output: two for each change, and one for what was refused."""

    on_volume: bool = False
    """Whether changes are also written to `.pypiserver/audit` on the package volume, each line with the digest of the
    one before it; a publish then waits for two more writes. It grows by about 1 kB a publish, and nothing takes it
    away."""


class Audit:
    """Has the server write the trail: what `registry.audit` is.

    Attributes:
        spec: The spec.
    """

    def __init__(self, sockets: "Sockets", spec: AuditSpec) -> None:
        """Join the registry."""
        self.spec = spec
        sockets.server.set("AUDIT", "volume" if spec.on_volume else "log")
