"""A store that is elsewhere, as rclone speaks with it: bucket, file server or whatever else it knows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field
from typing_extensions import Self

from .fields import Form, Name, Peer, Port
from .identity import Identity
from .manifest import Manifest
from .model import Spec
from .peers import PUBLIC
from .places import PARTS, Place, place
from .problems import NO_VALUE, Problem
from .variables import variables

BEHAVIOUR: Final[Mapping[str, str]] = {
    # No file: what is configured stands in the environment. The API server drops an empty value, which rclone takes as
    # well, and kubectl apply would find a difference every time.
    "RCLONE_CONFIG": "/dev/null",
    "RCLONE_CACHE_DIR": "/tmp/rclone",  # noqa: S108 - of the container
    # By itself rclone goes on trying a store that refuses connections for more than ten minutes; so it ends within one.
    "RCLONE_RETRIES": "3",
    "RCLONE_LOW_LEVEL_RETRIES": "3",
    "RCLONE_CONTIMEOUT": "10s",
    "RCLONE_TIMEOUT": "60s",
}
"""Variables of the environment of every rclone, whatever the command; options of rclone by their usual rule of names
(https://rclone.org/docs/#environment-variables)."""

CA_DIRECTORY = "/etc/pypiserver/remote-ca"
_NO_REMOTE = {
    "local": "is a folder of the container",
    "memory": "is gone with the container",
    "http": "can only be read",
    "doi": "can only be read",
    "archive": "can only be read",
    **dict.fromkeys(
        ("alias", "cache", "chunker", "combine", "compress", "crypt", "hasher", "union"), "stands before another remote"
    ),
}
_NEVER_MADE = {"s3": "no_check_bucket", "google cloud storage": "no_check_bucket", "azureblob": "no_check_container"}
"""Options by which rclone does not make what it puts things into: a slip of the pen is an error then, and the keys need
no right to it."""
_OF_THE_SECRET = {"s3": ("access_key_id", "secret_access_key")}
_USUAL_PORTS = {"sftp": 22, "ftp": 21, "smb": 445}
_ADDRESSES = ("endpoint", "url", "host")
# What rclone itself calls passwords or keeps out of its reports (`rclone config providers`), and what is like it.
_SECRET = re.compile(
    r"(?:.*_)?(?:pass|password2?|passphrase|secret|token|keys?|key_base64|key_md5|credentials|pem|cookies|mnemonic)"
    r"|authorization|access_grant|connection_string|sas_url|session_id|(?:http_)?headers"
)
_NO_SECRET = frozenset({"public_key"})
_LONGEST_VALUE = 2000


def _no_type(value: str) -> str | None:
    return f"cannot be had: it {_NO_REMOTE[value]}" if value in _NO_REMOTE else None


def _no_option(value: str) -> str | None:
    if value == "type":
        return "cannot be an option: `type` is a field of its own"
    if re.fullmatch(_SECRET, value) and value not in _NO_SECRET:
        return "cannot stand here, where whoever reads the manifests would know it: name it in secret_options"
    return None


def _no_value(value: str) -> str | None:
    if "://" in value and "@" in value.partition("://")[2].partition("/")[0]:
        return "must hold no credentials, which whoever reads the manifests would know"
    return None


def _outside(value: str) -> str | None:
    return "must not have . or .. as a part" if {".", ".."} & set(value.split("/")) else None


_OPTION = r"[a-z][a-z0-9_]*"
RemoteType = Annotated[
    str,
    Form(
        r"[a-z0-9]+(?: [a-z0-9]+)*",
        "must be the name of a storage system as rclone has it: s3, azureblob, google cloud storage, sftp, webdav …",
        40,
        _no_type,
    ),
]
"""What rclone calls a storage system (https://rclone.org/overview/)."""

OptionName = Annotated[
    str, Form(_OPTION, "must be the name of an option as in rclone's configuration: provider, endpoint …", 60)
]
"""Name of an option of a remote."""

PlainOptionName = Annotated[
    str,
    Form(_OPTION, "must be the name of an option as in rclone's configuration: provider, endpoint …", 60, _no_option),
]
"""Name of an option that is no secret."""

OptionValue = Annotated[
    str, Form(r"[^\x00-\x1f\x7f]+", "must be one line of text, such as true or 8Mi", _LONGEST_VALUE, _no_value)
]
"""Value of an option, as rclone's configuration has it."""

RemotePath = Annotated[
    str,
    Form(
        r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*",
        "must be a bucket, or a folder in it such as bucket/team/pypi: letters, digits, . _ and -, with a single / "
        "between two parts",
        500,
        _outside,
    ),
]
"""A place in a remote: a bucket and a folder, or a folder where there are no buckets."""


class RemoteSpec(Spec):
    """A store that rclone knows (https://rclone.org/overview/), and a place in it."""

    type: RemoteType
    """What rclone calls the storage system: s3, azureblob, google cloud storage, b2, sftp, webdav …"""
    path: RemotePath
    """Bucket, or bucket and folder; a folder where there are no buckets. A bucket must exist."""
    options: Mapping[PlainOptionName, OptionValue] = Field(default_factory=dict)
    """Options of the remote as rclone's configuration has them, but for secrets: `provider`, `endpoint`, `region`,
    `host`, `user`, `url` …"""
    secret: Name | None = None
    """Secret with the other options; `<name>-s3` by default, of a backup `<name>-backup`."""
    secret_options: Sequence[OptionName] = ()
    """Options whose values are the Secret's, under keys of the same names: `access_key_id` and `secret_access_key` by
    default for s3, and to be named for every other type. Without any there is no Secret, as where the cloud knows the
    pod. Passwords stand there as rclone keeps them (`rclone obscure`)."""
    ca_config_map: Name | None = None
    """ConfigMap whose key `ca.crt` has the certificates by which the store is known; those of the image by default."""
    plain_http: bool = False
    """Whether an address may begin with http://: whoever is on the way then reads and changes what is sent."""
    peers: Annotated[Sequence[Peer], Field(min_length=1)] = PUBLIC
    """Peers (NetworkPolicyPeer) that a network policy lets the pods reach, at the store's ports; every public address
    by default."""
    ports: Sequence[Port] = ()
    """The store's ports; by default that of its address, else the usual one."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what the type needs, and addresses without encryption."""
        yield from super().conflicts()
        if self.type == "s3" and "provider" not in self.options:
            reason = "must have provider for type s3, by which rclone knows the store's ways: AWS, Ceph, Minio, Other …"
            yield self.problem("options", reason)
        if "secret_options" not in self.model_fields_set and self.type not in _OF_THE_SECRET:
            reason = f"must be given for type {self.type}: the options that the Secret has, such as pass; [] for none"
            yield Problem(("secret_options",), NO_VALUE, reason)
        if self.secret and not self.secrets:
            yield self.problem("secret", "must be left out without secret_options: nothing of it is used")
        for name in self.secrets:
            if name in self.options:
                yield Problem(("options", name), self.options[name], "cannot be had twice: secret_options has it")
        for name, value in self.options.items():
            if not self.plain_http and value.lower().startswith("http://"):
                reason = "must begin with https://, or plain_http must say that nothing on the way is encrypted"
                yield Problem(("options", name), value, reason)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The options that the Secret has."""
        if "secret_options" in self.model_fields_set:
            return tuple(self.secret_options)
        return _OF_THE_SECRET.get(self.type, ())

    @property
    def places(self) -> list[Place]:
        """Where the store is, as far as the options say."""
        found = []
        for name in _ADDRESSES:
            parts = PARTS.fullmatch(self.options.get(name, ""))
            if parts and parts["host"]:
                has_port = parts["port"] or parts["scheme"]
                found.append(place(parts[0]) if has_port else Place(parts["host"], self._usual_port))
        return found

    @property
    def used_ports(self) -> list[int]:
        """The ports at which the store is reached."""
        return sorted({*self.ports} or {each.port for each in self.places} or {self._usual_port})

    @property
    def private_host(self) -> str | None:
        """The store's host, if that is no public one: then `peers` has to name it where there is a network policy."""
        if "peers" in self.model_fields_set:
            return None
        return next((each.host for each in self.places if each.is_private), None)

    @property
    def _usual_port(self) -> int:
        port = self.options.get("port", "")
        return int(port) if port.isdecimal() else _USUAL_PORTS.get(self.type, 443)

    def secret_name(self, identity: Identity) -> str:
        """Return the name of the Secret."""
        return self.secret or identity.name_of("s3")

    def with_secret(self, name: str) -> Self:
        """Return it with this Secret, where it needs one and names none."""
        return self if self.secret or not self.secrets else self.replace(secret=name)

    def secret_volume(self, volume: str, identity: Identity) -> Manifest:
        """Return a volume of this name that has a file of each option that the Secret has."""
        # Not optional, as in `environment`.
        items = [{"key": option, "path": option} for option in self.secrets]
        return {"name": volume, "secret": {"secretName": self.secret_name(identity), "items": items}}

    def fs(self, name: str, below: str = "") -> str:
        """Return what rclone takes as this place, or one below it, if the remote is called `name`."""
        return f"{name}:{self.path}{f'/{below}' if below else ''}"

    def environment(self, name: str, identity: Identity, *, in_file: bool = False) -> list[Manifest]:
        """Return variables of the environment by which rclone knows the remote as `name`, which is of letters.

        `environment` of this module has them too, and what rclone needs besides. What the Secret has, and the type, may
        be `in_file`: then there is no such remote before that is written.
        """
        prefix = f"RCLONE_CONFIG_{name.upper()}_"
        plain = {**({} if in_file else {"type": self.type}), **self.options}
        if self.type in _NEVER_MADE:
            plain.setdefault(_NEVER_MADE[self.type], "true")
        values = variables({f"{prefix}{option.upper()}": value for option, value in plain.items()})
        secret = self.secret_name(identity)
        for option in () if in_file else self.secrets:
            # Not optional: the kubelet says which Secret or which key is missing.
            reference = {"secretKeyRef": {"name": secret, "key": option}}
            values.append({"name": f"{prefix}{option.upper()}", "valueFrom": reference})
        return values


def environment(remotes: Mapping[str, RemoteSpec], identity: Identity, *, file: str | None = None) -> list[Manifest]:
    """Return all variables of the environment of a container whose rclone knows these remotes, sorted by name.

    Args:
        remotes: The remotes by the names that rclone knows them by: `store` is `store:` to it.
        identity: Whose container it is.
        file: Configuration file that has their types and what their Secrets have; the environment by default.
    """
    certificates = [f"{CA_DIRECTORY}/{name}/ca.crt" for name, remote in remotes.items() if remote.ca_config_map]
    # Then no others count, for any of the remotes.
    general = {
        **BEHAVIOUR,
        **({"RCLONE_CONFIG": file} if file else {}),
        **({"RCLONE_CA_CERT": ",".join(certificates)} if certificates else {}),
    }
    values = variables(general)
    in_file = file is not None
    values += (each for name, remote in remotes.items() for each in remote.environment(name, identity, in_file=in_file))
    return sorted(values, key=lambda each: str(each["name"]))


def volumes(remotes: Mapping[str, RemoteSpec]) -> list[Manifest]:
    """Return the volumes of a pod whose rclone knows these remotes: those of certificates."""
    sources = {name: remote.ca_config_map for name, remote in remotes.items() if remote.ca_config_map}
    return [{"name": f"ca-of-{name}", "configMap": {"name": source}} for name, source in sources.items()]


def mounts(remotes: Mapping[str, RemoteSpec]) -> list[Manifest]:
    """Return the mounts of these volumes."""
    return [
        {"name": f"ca-of-{name}", "mountPath": f"{CA_DIRECTORY}/{name}", "readOnly": True}
        for name, remote in remotes.items()
        if remote.ca_config_map
    ]
