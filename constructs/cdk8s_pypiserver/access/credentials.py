"""Who may read and who may publish: htpasswd files in a Secret that exists outside the manifests."""

from cdk8s_plus_27 import k8s

from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Name, Spec

CREDENTIALS_DIRECTORY = "/etc/pypiserver/auth"
VOLUME = "credentials"


class AuthSpec(Spec):
    """Readers and publishers, each a key of one Secret in htpasswd format (bcrypt: `htpasswd -nB alice`)."""

    secret: Name | None = None
    """Secret with the keys `readers` and `publishers`; `<name>-auth` by default. Publishers may read too. A changed
    Secret is picked up without a restart."""
    anonymous_reads: bool = False
    """Whether listing and downloading need no password. Publishing always does."""
    initial_password: bool = False
    """Whether a first start without the Secret makes a random password for the user `publisher`, kept on the package
    volume and read with kubectl exec. Without this and without the Secret the server says what is missing and does not
    serve."""


def credentials_volume(spec: AuthSpec, metadata: Identity) -> k8s.Volume:
    """Return the volume of the Secret; optional, so that the server's log can say that the Secret is missing."""
    return k8s.Volume(
        name=VOLUME,
        secret=k8s.SecretVolumeSource(secret_name=secret_name(spec, metadata), optional=True),
    )


def credentials_mount() -> k8s.VolumeMount:
    """Return the mount of the Secret; a whole directory, since a subPath never sees a changed Secret."""
    return k8s.VolumeMount(name=VOLUME, mount_path=CREDENTIALS_DIRECTORY, read_only=True)


def secret_name(spec: AuthSpec, metadata: Identity) -> str:
    """Return the name of the Secret with the htpasswd files."""
    return spec.secret or metadata.name_of("auth")


def environment(spec: AuthSpec, metadata: Identity) -> dict[str, str]:
    """Return the server's settings that concern credentials."""
    return {
        "CREDENTIALS_DIRECTORY": CREDENTIALS_DIRECTORY,
        "CREDENTIALS_SECRET": secret_name(spec, metadata),
        "INITIAL_PASSWORD": "yes" if spec.initial_password else "no",
    }
