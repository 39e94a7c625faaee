"""Backups of the packages: a CronJob that makes them, one that restores, and one that proves them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.access.network import NAMES, Way
from cdk8s_pypiserver.base import images, remote
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Form, Image, Name
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources, Spec
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem
from cdk8s_pypiserver.base.raw import EnvVar
from cdk8s_pypiserver.base.remote import RemoteSpec
from cdk8s_pypiserver.base.schedules import Schedule, TimeZone
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.exposure.certificates import secret_name
from cdk8s_pypiserver.exposure.gateway_tls import GatewayTLSSpec
from cdk8s_pypiserver.monitoring.alerts import Age, age_seconds
from cdk8s_pypiserver.pod.container import wrong_variables
from cdk8s_pypiserver.pod.gateway import HTTPS_PORT, PORT
from cdk8s_pypiserver.pod.hardening import mount, scratch

from .drill import DrillSpec
from .job import Run, RunPod
from .moments import ManifestTime
from .restore import RestoreSpec

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets
    from cdk8s_pypiserver.storage.mode import StorageSpec

STORE = "store"
ENCRYPTED = "crypt"
SOURCE = "source"
"""What rclone knows the remote as, what encrypts before it, and the store that packages are in."""
TARGET_DIRECTORY = "/backup"
SCRATCH_DIRECTORY = "/scratch"
CREDENTIALS_DIRECTORY = "/etc/pypiserver/drill"
AUTHORITY_DIRECTORY = "/etc/pypiserver/drill-ca"
NEVER = "0 0 1 1 *"
"""The schedule of a CronJob that is suspended, which has to have one."""

Bandwidth = Annotated[str, Form(r"[1-9][0-9]{0,5}[KMG]", "must be bytes a second such as 500K, 10M or 1G (of 1024)", 7)]
"""Bytes a second, as rclone takes them (--bwlimit)."""


class BackupSpec(Spec):
    """Copies of everything of value among the packages, kept in a store or on another volume.

    Nothing there is ever replaced, or removed because the registry lost it.
    """

    remote: RemoteSpec | None = None
    """The store that keeps them. The Secret of its options is `<name>-backup` by default."""
    claim: Name | None = None
    """Claim of another volume that keeps them, where there is no `remote`."""
    encryption_secret: Name | None = None
    """Secret with the key `password` and perhaps `password2`, each as `rclone obscure` prints it, by which content and
    names are encrypted (rclone crypt); None for no encryption. Who loses it loses the backups."""
    schedule: Schedule = "17 2 * * *"
    """When one is made."""
    time_zone: TimeZone | None = None
    """Time zone of the schedules; that of the control plane if nothing is said."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 30
    """How many backups can be restored: of so many the manifests are kept."""
    prune: bool = False
    """Whether files that no manifest names any more are removed from the store; otherwise they stay for ever."""
    most_lost_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """The share of the files, or of their bytes, that may be gone since the last backup, in hundredths. A volume that
    has lost more is not backed up, and there is an alert."""
    accepted: ManifestTime | None = None
    """The backup since which whatever is gone has rightly gone, or since which the volume is another."""
    bandwidth: Bandwidth | None = None
    """Bytes a second that are sent or received at most; no limit by default."""
    max_age: Age = "26h"
    """How long ago the last backup may be, before there is an alert: by default what a daily one needs, with two hours
    for one that takes longer."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How many times a run that failed is tried again at once."""
    deadline_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = 6 * 3600
    """Seconds after which a run is ended; the next one goes on where it was."""
    restore: RestoreSpec = RestoreSpec()
    """What the restore does that somebody starts by hand."""
    drill: DrillSpec | None = DrillSpec()
    """How backups are proven; None for not at all."""
    image: Image = images.STORE
    """Image that has rclone as /usr/local/bin/rclone, in one file, and cp. The program itself runs on the server's."""
    env: Sequence[EnvVar] = ()
    """Further variables of the environment, such as HTTPS_PROXY; one of a name that is there takes its place."""
    resources: Resources = Resources(memory_request="128Mi", memory_limit="1Gi")
    """Requests and limits of backup and restore."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield backups that nobody keeps, or two do."""
        yield from super().conflicts()
        yield from wrong_variables("env", self.env)
        if self.remote is None and self.claim is None:
            yield Problem(("remote",), NO_VALUE, "or claim must be given: something has to keep the backups")
        if self.remote and self.claim:
            yield self.problem(
                "claim", f"cannot be had with remote ({self.remote.type}): one of them keeps the backups"
            )


class Backup(Construct):
    """The CronJobs, their program, and the ways that their pods need: what `registry.backup` is.

    Attributes:
        spec: The spec.
        files: ConfigMap of the program.
        jobs: The CronJobs by kind: backup, restore and, where there is one, drill.
    """

    def __init__(  # noqa: PLR0913
        self,
        sockets: "Sockets",
        id_: str,
        *,
        spec: BackupSpec,
        storage: "StorageSpec",
        port: int,
        tls: GatewayTLSSpec | None,
    ) -> None:
        """Join the registry.

        Args:
            sockets: The registry.
            id_: Name of this construct in it.
            spec: The spec.
            storage: Where the packages are.
            port: Port of the registry's Service, in the clear.
            tls: HTTPS at the pod, which the drill uses where it is to be had.
        """
        super().__init__(sockets, id_)
        self.spec = spec
        self._sockets = sockets
        self._port = port
        self._tls = tls
        identity = sockets.identity
        self._remotes: dict[str, RemoteSpec] = {}
        if spec.remote:
            self._remotes[STORE] = spec.remote.with_secret(identity.name_of("backup"))
        self._source = storage.place(identity.name)
        if self._source:
            self._remotes[SOURCE] = self._source[0]
        self.files = ConfigFiles(self, "files", identity=identity, suffix="backup", files=runtime_files("backup"))
        runs = [self._backup(), self._restore(), *([self._drill(spec.drill)] if spec.drill else [])]
        self.jobs = {
            run.kind: RunPod(sockets, self.files, run).cron_job(self, "Default" if run.kind == "backup" else run.kind)
            for run in runs
        }
        sockets.server.set("BACKUP_MAX_AGE_SECONDS", str(age_seconds(spec.max_age)))
        ways = [*(Way(each.peers, each.used_ports) for each in self._remotes.values()), *NAMES]
        for kind in ("backup", "restore"):
            sockets.network.isolate(kind, ways)
        if spec.drill:
            sockets.server.set("DRILL_MAX_AGE_SECONDS", str(age_seconds(spec.drill.max_age)))
            # A way to a port that nothing listens at does no harm.
            ports = (PORT, HTTPS_PORT)
            sockets.network.allow_from([{"podSelector": {"matchLabels": identity.selector_of("drill")}}], ports=ports)
            registry = {"podSelector": {"matchLabels": identity.selector}}
            sockets.network.isolate("drill", [*ways, Way([registry], ports)])

    def _backup(self) -> Run:
        spec = self.spec
        own = {
            "BACKUP_KEEP": str(spec.keep),
            "BACKUP_MOST_LOST_PERCENT": str(spec.most_lost_percent),
            "BACKUP_PRUNE": "yes" if spec.prune else "no",
            **({"BACKUP_ACCEPTED": spec.accepted} if spec.accepted else {}),
        }
        return Run(
            kind="backup",
            schedule=spec.schedule,
            time_zone=spec.time_zone,
            resources=spec.resources,
            deadline_seconds=spec.deadline_seconds,
            attempts=spec.retries + 1,
            image=spec.image,
            on_volume=self._source is None,
            environment=lambda: self._environment(own),
            volumes=self._volumes(),
            mounts=self._mounts(read_only=False),
        )

    def _restore(self) -> Run:
        spec, restore = self.spec, self.spec.restore
        own = {
            "RESTORE_DIFFERING": restore.differing,
            "RESTORE_DRY_RUN": "yes" if restore.dry_run else "no",
            "RESTORE_INCOMPLETE": "yes" if restore.incomplete else "no",
            **({"RESTORE_AS_OF": restore.as_of} if restore.as_of else {}),
        }
        return Run(
            kind="restore",
            schedule=NEVER,
            suspended=True,
            writes=True,
            resources=spec.resources,
            deadline_seconds=spec.deadline_seconds,
            attempts=spec.retries + 1,
            image=spec.image,
            on_volume=self._source is None,
            environment=lambda: self._environment(own),
            volumes=self._volumes(),
            mounts=self._mounts(read_only=True),
        )

    def _drill(self, drill: DrillSpec) -> Run:
        identity = self._sockets.identity
        secret = drill.credentials_secret or identity.name_of("drill")
        tls = None if drill.url else self._tls
        asked = tls.certificate.hosts[0] if tls and tls.certificate else None
        tls_name = (drill.tls_name or asked) if tls else None
        own = {
            "DRILL_PORT": str(tls.port if tls else self._port),
            "DRILL_SCRATCH": SCRATCH_DIRECTORY,
            **({"DRILL_TLS": "yes"} if tls else {}),
            **({"DRILL_TLS_NAME": tls_name} if tls_name else {}),
            **({"DRILL_URL": drill.url.removesuffix("/").removesuffix("/simple")} if drill.url else {}),
        }
        # What the Service is called after Kustomize has given another name.
        name = {
            "name": "REGISTRY_NAME",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app.kubernetes.io/instance']"}},
        }
        volumes: list[Manifest] = [
            _scratch(drill),
            # Optional: reads may be anonymous.
            {"name": "reader", "secret": {"secretName": secret, "optional": True}},
        ]
        mounts = [
            mount("scratch", SCRATCH_DIRECTORY),
            mount("reader", CREDENTIALS_DIRECTORY, read_only=True),
        ]
        if drill.ca_config_map:
            volumes.append({"name": "registry-ca", "configMap": {"name": drill.ca_config_map}})
        elif tls:
            # Of the Secret nothing but this: the key is the gateway's.
            items = [{"key": "ca.crt", "path": "ca.crt"}]
            name_of_secret = secret_name(tls.secret, identity)
            authority = {"secretName": name_of_secret, "items": items, "optional": True}
            volumes.append({"name": "registry-ca", "secret": authority})
        if drill.ca_config_map or tls:
            mounts.append(mount("registry-ca", AUTHORITY_DIRECTORY, read_only=True))
        return Run(
            kind="drill",
            schedule=drill.schedule,
            time_zone=self.spec.time_zone,
            resources=drill.resources,
            deadline_seconds=drill.deadline_seconds,
            owns_volumes=drill.scratch_storage_class is not None,
            image=self.spec.image,
            on_volume=self._source is None,
            environment=lambda: [*self._environment(own), name],
            volumes=[*self._volumes(), *volumes],
            mounts=[*self._mounts(read_only=True), *mounts],
        )

    def _environment(self, own: Mapping[str, str]) -> list[Manifest]:
        spec = self.spec
        place = spec.remote.fs(STORE) if spec.remote else TARGET_DIRECTORY
        values = {**own, "BACKUP_STORE": place, **({"BACKUP_BANDWIDTH": spec.bandwidth} if spec.bandwidth else {})}
        if self._source:
            source, folder = self._source
            values["BACKUP_SOURCE"] = source.fs(SOURCE, folder)
            if self._is_one_account:
                # Then nothing goes through the pod.
                values["RCLONE_SERVER_SIDE_ACROSS_CONFIGS"] = "true"
        secrets: list[Manifest] = []
        if spec.encryption_secret:
            prefix = f"RCLONE_CONFIG_{ENCRYPTED.upper()}_"
            values |= {"BACKUP_STORE": f"{ENCRYPTED}:", f"{prefix}TYPE": ENCRYPTED, f"{prefix}REMOTE": place}
            for key in ("password", "password2"):
                reference: dict[str, Any] = {"name": spec.encryption_secret, "key": key}
                if key == "password2":
                    reference["optional"] = True
                secrets.append({"name": f"{prefix}{key.upper()}", "valueFrom": {"secretKeyRef": reference}})
        found = remote.environment(self._remotes, self._sockets.identity)
        found += [*variables(values), *secrets]
        users = {each["name"] for each in spec.env}
        return [*(each for each in found if each["name"] not in users), *(dict(each) for each in spec.env)]

    @property
    def _is_one_account(self) -> bool:
        """Whether both stores are one to the same keys, so that it can copy by itself."""
        found = [self._remotes.get(name) for name in (STORE, SOURCE)]
        accounts = [
            (each.type, dict(each.options), each.secret_name(self._sockets.identity), each.secrets)
            for each in found
            if each
        ]
        return len(accounts) == len(found) and accounts[0] == accounts[1]

    def _volumes(self) -> list[Manifest]:
        volumes = remote.volumes(self._remotes)
        if self.spec.claim:
            volumes.append({"name": "target", "persistentVolumeClaim": {"claimName": self.spec.claim}})
        return volumes

    def _mounts(self, *, read_only: bool) -> list[Manifest]:
        mounts = remote.mounts(self._remotes)
        if self.spec.claim:
            mounts.append(mount("target", TARGET_DIRECTORY, read_only=read_only))
        return mounts


def _scratch(drill: DrillSpec) -> Manifest:
    if drill.scratch_storage_class is None:
        return scratch("scratch", drill.scratch_size)
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": drill.scratch_storage_class,
        "resources": {"requests": {"storage": drill.scratch_size}},
    }
    return {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
