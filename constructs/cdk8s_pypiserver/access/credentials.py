"""Who may read and who may publish: htpasswd files in a Secret that exists outside the manifests."""

from typing import TYPE_CHECKING

from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.fields import Name
from cdk8s_pypiserver.base.model import Spec

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

DIRECTORY = "/etc/pypiserver/auth"
VOLUME = "credentials"


class AuthSpec(Spec):
    """Readers and publishers, each a key of one Secret in htpasswd format (bcrypt: `htpasswd -nB alice`)."""

    secret: Name | None = None
    """Secret with the keys `readers` and `publishers`, and `tokens` (`python -m cdk8s_pypiserver token`); `<name>-auth`
    by default. Publishers may read too. A changed Secret is picked up without a restart."""
    anonymous_reads: bool = False
    """Whether listing and downloading need no password. Publishing always does."""
    initial_password: bool = False
    """Whether a first start without the Secret makes a random password for the user `publisher`, kept on the package
    volume and read with kubectl exec. Without this, without the Secret and without `ldap` the server says what is
    missing and does not serve."""


class Credentials:
    """The Secret in the server, and whether the gateway asks readers for a password: what `registry.credentials` is.

    Attributes:
        secret: Name of the Secret.
    """

    def __init__(self, sockets: "Sockets", spec: AuthSpec) -> None:
        """Join the registry."""
        self.secret = spec.secret or sockets.identity.name_of("auth")
        # Optional, so that the server's log can say that the Secret is missing.
        sockets.pod.put_volume({"name": VOLUME, "secret": {"secretName": self.secret, "optional": True}})
        # A whole directory, since a subPath never sees a changed Secret.
        sockets.server.add_mount(VOLUME, DIRECTORY, read_only=True)
        sockets.server.set("CREDENTIALS_DIRECTORY", DIRECTORY)
        sockets.server.set("CREDENTIALS_SECRET", self.secret)
        sockets.server.set("INITIAL_PASSWORD", "yes" if spec.initial_password else "no")
        reads = "reads-anonymous.conf" if spec.anonymous_reads else "reads-credentials.conf"
        sockets.gateway.add_file("reads", "credentials", runtime_files("gateway")[reads])
