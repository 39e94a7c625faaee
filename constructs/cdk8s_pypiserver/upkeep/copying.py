"""Packages that come from elsewhere: a CronJob that copies them into the registry, or that somebody makes a Job of."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.access.network import NAMES, Way
from cdk8s_pypiserver.base import images, remote
from cdk8s_pypiserver.base.addresses import IndexUrl
from cdk8s_pypiserver.base.config_files import ConfigFiles, command_files
from cdk8s_pypiserver.base.fields import Bytes, Form, Image, Name, Peer
from cdk8s_pypiserver.base.identity import APPLICATION
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources, Spec
from cdk8s_pypiserver.base.peers import PUBLIC
from cdk8s_pypiserver.base.places import Place, place
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem
from cdk8s_pypiserver.base.raw import EnvVar
from cdk8s_pypiserver.base.remote import RemoteSpec
from cdk8s_pypiserver.base.schedules import Schedule, TimeZone
from cdk8s_pypiserver.base.variables import literal, variables
from cdk8s_pypiserver.pod import libraries
from cdk8s_pypiserver.pod.container import wrong_variables
from cdk8s_pypiserver.pod.gateway import HTTPS_PORT, PORT
from cdk8s_pypiserver.pod.hardening import hardened, mount, requirements, scratch

from .backup import NEVER, Bandwidth
from .copy_lock import CopyLockSpec
from .cron_job import CronJob
from .job import PROGRAMS, PROGRAMS_VOLUME, rclone

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

COMPONENT = "copy"
SOURCE_SECRET = "copy-source"  # noqa: S105 - a suffix
REMOTE = "source"
"""What rclone knows the bucket as."""
DIRECTORY = "/etc/pypiserver/copy"
FILES_VOLUME = "copy-files"
LIBRARIES = libraries.DIRECTORY
REQUIREMENTS = libraries.REQUIREMENTS
REQUIREMENTS_VOLUME = "copy-requirements"
REQUIREMENTS_DIRECTORY = "/etc/pypiserver/copy-requirements"
WORK_DIRECTORY = "/work"
LOCK_DIRECTORY = "/etc/pypiserver/copy-lock"
CA_DIRECTORY = "/etc/pypiserver/copy-ca"

ProjectPattern = Annotated[
    str, Form(r"[A-Za-z0-9._*?\[\]!-]+", "must be the name of a project or a pattern such as acme-*", 200)
]
"""Name of a project, with `*`, `?` and `[…]` for others."""


class CopySpec(Spec):
    """What is copied into the registry, when, and as whom. It adds packages, and replaces or removes none.

    By default it waits until somebody makes a Job of it. A Job that was ended goes on where it stopped.
    """

    source: IndexUrl | None = None
    """Index that the packages come from, as pip has it: `https://old.example.org/simple/`."""
    lock: CopyLockSpec | None = None
    """Lock file that names what is copied, where there is no `source`."""
    bucket: RemoteSpec | None = None
    """Bucket, or folder of another store that rclone knows, whose packages are copied, where there is no `source`; the
    Secret of its options is `<name>-copy-source` by default."""
    target: IndexUrl | None = None
    """Address that twine would upload to; the registry's own Service by default."""
    target_index: IndexUrl | None = None
    """Index of `target`; `simple/` below it by default."""
    source_secret: Name | None = None
    """Secret with the keys `username` and `password` for the source; `<name>-copy-source` by default, which need not be
    there."""
    target_secret: Name | None = None
    """Secret with the keys `username` and `password` of a publisher; `<name>-copy` by default."""
    only: Sequence[ProjectPattern] = ()
    """Names of projects, with patterns; all by default."""
    jobs: Annotated[int, Field(ge=1, le=100)] = 4
    """How many files are copied at once."""
    limit_rate: Bandwidth | None = None
    """Bytes a second that are received, and sent, at most; no limit by default."""
    dry_run: bool = False
    """Whether it only tells what it would copy."""
    schedule: Schedule | None = None
    """When it runs; only when somebody makes a Job of it if nothing is said."""
    time_zone: TimeZone | None = None
    """Time zone of the schedule; that of the control plane if nothing is said."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """How many times a run that failed, or whose node was lost, is tried again: it goes on with what is missing."""
    deadline_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = 86400
    """Seconds after which a run is ended; the next one goes on where it was."""
    work_size: Bytes = "10Gi"
    """Room on the node's disk for the files that are on their way: `jobs` times the largest."""
    libraries: IndexUrl | None = "https://pypi.org/simple/"
    """Index that the libraries of the program come from, each of one version and known by its sha256. None if `image`
    has them: what the extra `copy` of cdk8s-pypiserver installs."""
    image: Image | None = None
    """Image with Python 3.10 or later and, for `libraries`, pip; the server's by default."""
    rclone_image: Image = images.STORE
    """Image that has rclone as /usr/local/bin/rclone, in one file, and cp; for `bucket`."""
    ca_config_map: Name | None = None
    """ConfigMap whose key `ca.crt` has the certificates by which source, target and `libraries` are known; those that
    come with Python by default."""
    peers: Annotated[Sequence[Peer], Field(min_length=1)] = PUBLIC
    """Peers (NetworkPolicyPeer) that a network policy lets the pods reach besides the registry, at the ports of the
    source, the target and `libraries`; every public address by default."""
    env: Sequence[EnvVar] = ()
    """Further variables of the environment, such as HTTPS_PROXY; one of a name that is there takes its place."""
    resources: Resources = Resources(cpu_request="100m", memory_request="128Mi", memory_limit="1Gi")
    """Requests and limits."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what has no source or two, and what goes with another field."""
        yield from super().conflicts()
        yield from wrong_variables("env", self.env)
        given = [field for field in ("source", "lock", "bucket") if getattr(self, field)]
        if not given:
            yield Problem(("source",), NO_VALUE, "or lock or bucket must be given: something has to be copied")
        for field in given[1:]:
            yield Problem((field,), NO_VALUE, f"cannot be had with {given[0]}: one of them is copied")
        if self.bucket and self.source_secret:
            yield self.problem("source_secret", "must be left out with bucket: its own Secret is bucket.secret")
        if self.target_index and not self.target:
            yield self.problem("target_index", "must be left out without target: the registry's own is known")
        if self.target and self.source and self.target.rstrip("/") == self.source.rstrip("/"):
            yield self.problem("target", "must be another than source")
        if self.time_zone and not self.schedule:
            yield self.problem("time_zone", "must be left out without schedule")

    @property
    def places(self) -> list[Place]:
        """Where the pods have to go, as far as the spec says."""
        named = (self.source, self.lock and self.lock.index, self.target, self.target_index, self.libraries)
        return [place(each) for each in named if each]


class CopyJob(Construct):
    """The CronJob and its program: what `registry.copying` is.

    Attributes:
        spec: The spec.
        files: ConfigMap of the program.
        requirements: ConfigMap of what its libraries are, if a pod brings them.
        cron_job: The CronJob.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: CopySpec, port: int) -> None:
        """Join the registry.

        Args:
            sockets: The registry.
            id_: Name of this construct in it.
            spec: The spec.
            port: Port of the registry's Service.
        """
        super().__init__(sockets, id_)
        self.spec = spec
        self._sockets = sockets
        self._port = port
        identity = sockets.identity
        self._remotes: dict[str, RemoteSpec] = {}
        if spec.bucket:
            self._remotes[REMOTE] = spec.bucket.with_secret(identity.name_of(SOURCE_SECRET))
        sockets.marks[f"{APPLICATION}/{COMPONENT}"] = "yes"
        files = {_key(path): text for path, text in command_files().items()}
        # Apart, or the object would be larger than one that can be applied.
        wanted = {REQUIREMENTS: files.pop(_key(f"moving/{REQUIREMENTS}"))}
        self.files = ConfigFiles(self, "files", identity=identity, suffix=COMPONENT, files=files)
        self.requirements = (
            ConfigFiles(self, "requirements", identity=identity, suffix=REQUIREMENTS_VOLUME, files=wanted)
            if spec.libraries
            else None
        )
        self.cron_job = CronJob(
            self,
            "Default",
            sockets=sockets,
            component=COMPONENT,
            schedule=spec.schedule or NEVER,
            suspended=spec.schedule is None,
            time_zone=spec.time_zone,
            longest_seconds=spec.deadline_seconds,
            attempts=spec.retries + 1,
            container=self._container,
            volumes=self._volumes,
            fields=lambda: {"initContainers": self._init_containers() or None},
        )
        jobs = {"podSelector": {"matchLabels": identity.selector_of(COMPONENT)}}
        # A way to a port that nothing listens at does no harm.
        ports = (PORT, HTTPS_PORT)
        sockets.network.allow_from([jobs], ports=ports)
        # Where a lock file sends is not known here.
        outside = sorted({each.port for each in spec.places} | ({443} if spec.lock else set()))
        sockets.network.isolate(
            COMPONENT,
            [
                Way([{"podSelector": {"matchLabels": identity.selector}}], ports),
                *([Way(spec.peers, outside)] if outside else []),
                *(Way(each.peers, each.used_ports) for each in self._remotes.values()),
                *NAMES,
            ],
        )

    def _init_containers(self) -> list[Manifest]:
        spec = self.spec
        return [
            *([self._libraries(spec.libraries)] if spec.libraries else []),
            *([rclone(spec.rclone_image, self._sockets.server.spec.image_pull_policy)] if spec.bucket else []),
        ]

    def _libraries(self, index: str) -> Manifest:
        """The container that brings what the program is made with."""
        authorities = f"{CA_DIRECTORY}/ca.crt" if self.spec.ca_config_map else None
        own = libraries.environment(index, authorities=authorities)
        return {
            **self._of_the_image("libraries"),
            "command": libraries.command(f"{REQUIREMENTS_DIRECTORY}/{REQUIREMENTS}", "--no-compile"),
            "env": self._environment(variables(own)),
            "volumeMounts": [
                mount(REQUIREMENTS_VOLUME, REQUIREMENTS_DIRECTORY, read_only=True),
                mount("copy-libraries", LIBRARIES),
                mount("copy-tmp", "/tmp"),  # noqa: S108 - of the container
                *self._authorities(),
            ],
        }

    def _container(self) -> Manifest:
        spec = self.spec
        return {
            **self._of_the_image(COMPONENT),
            "command": ["python", "-m", "cdk8s_pypiserver.moving"],
            "args": ["copy", "$(COPY_SOURCE)", "$(COPY_TARGET)", *self._options()],
            "env": self._environment(self._variables()),
            "volumeMounts": [
                mount(FILES_VOLUME, DIRECTORY, read_only=True),
                mount("copy-work", WORK_DIRECTORY),
                mount("copy-tmp", "/tmp"),  # noqa: S108 - of the container
                *([mount("copy-libraries", LIBRARIES, read_only=True)] if spec.libraries else []),
                *([mount("copy-lock", LOCK_DIRECTORY, read_only=True)] if spec.lock else []),
                *([mount(PROGRAMS_VOLUME, PROGRAMS, read_only=True)] if spec.bucket else []),
                *remote.mounts(self._remotes),
                *self._authorities(),
            ],
        }

    def _of_the_image(self, name: str) -> Manifest:
        server = self._sockets.server.spec
        return {
            "name": name,
            "image": self.spec.image or server.image,
            "imagePullPolicy": server.image_pull_policy,
            "securityContext": hardened(),
            "resources": requirements(self.spec.resources),
            # The last lines are the table, and what has failed.
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }

    def _options(self) -> list[str]:
        spec = self.spec
        options = [f"--jobs={spec.jobs}", f"--partial={WORK_DIRECTORY}"]
        options += (f"--only={each}" for each in spec.only)
        if spec.limit_rate:
            options.append(f"--limit-rate={spec.limit_rate}")
        if spec.target_index:
            options.append(f"--target-index={spec.target_index}")
        if spec.lock:
            options += [f"--index={spec.lock.index}"] if spec.lock.index else []
            options += (f"--python={each}" for each in spec.lock.pythons)
            options += (f"--platform={each}" for each in spec.lock.platforms)
        return [literal(each) for each in options]

    def _variables(self) -> list[Manifest]:
        spec, identity = self.spec, self._sockets.identity
        # What the Service is called after Kustomize has given another name; first, as one below is made of it.
        name = {
            "name": "REGISTRY_NAME",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app.kubernetes.io/instance']"}},
        }
        authorities = f"{CA_DIRECTORY}/ca.crt"
        own = {
            "COPY_DRY_RUN": "yes" if spec.dry_run else "no",
            "COPY_SOURCE": self._source(),
            "HOME": WORK_DIRECTORY,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{DIRECTORY}:{LIBRARIES}" if spec.libraries else DIRECTORY,
            **({"REQUESTS_CA_BUNDLE": authorities} if spec.ca_config_map else {}),
            **({"COPY_RCLONE": f"{PROGRAMS}/rclone"} if spec.bucket else {}),
        }
        secrets = {"TARGET": (spec.target_secret or identity.name_of(COMPONENT), False)}
        if not spec.bucket:
            secrets["SOURCE"] = (spec.source_secret or identity.name_of(SOURCE_SECRET), spec.source_secret is None)
        logins = [
            {
                "name": f"COPY_{side}_{key.upper()}",
                "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **({"optional": True} if optional else {})}},
            }
            for side, (secret, optional) in secrets.items()
            for key in ("username", "password")
        ]
        rest = remote.environment(self._remotes, identity) if self._remotes else []
        target = literal(spec.target) if spec.target else f"http://$(REGISTRY_NAME):{self._port}/"
        return [name, {"name": "COPY_TARGET", "value": target}, *logins, *variables(own), *rest]

    def _source(self) -> str:
        spec = self.spec
        if spec.lock:
            return f"{LOCK_DIRECTORY}/{spec.lock.file}"
        return f"rclone:{spec.bucket.fs(REMOTE)}" if spec.bucket else spec.source or ""

    def _environment(self, own: Sequence[Manifest]) -> list[Manifest]:
        users = {each["name"] for each in self.spec.env}
        return [*(each for each in own if each["name"] not in users), *(dict(each) for each in self.spec.env)]

    def _authorities(self) -> list[Manifest]:
        return [mount("copy-ca", CA_DIRECTORY, read_only=True)] if self.spec.ca_config_map else []

    def _volumes(self) -> list[Manifest]:
        spec = self.spec
        # The package as Python looks for it, without the rest of it.
        paths = {_key(path): f"cdk8s_pypiserver/{path}" for path in command_files()}
        items = [{"key": key, "path": paths[key]} for key in self.files.files]
        volume = self.files.volume(FILES_VOLUME)
        volumes: list[Manifest] = [
            {**volume, "configMap": {**volume["configMap"], "items": items}},
            scratch("copy-work", spec.work_size),
            scratch("copy-tmp", "512Mi"),
        ]
        if self.requirements:
            volumes += [self.requirements.volume(REQUIREMENTS_VOLUME), scratch("copy-libraries", "256Mi")]
        if spec.lock:
            volumes.append({"name": "copy-lock", "configMap": {"name": spec.lock.config_map}})
        if spec.bucket:
            volumes += [scratch(PROGRAMS_VOLUME, "256Mi"), *remote.volumes(self._remotes)]
        if spec.ca_config_map:
            volumes.append({"name": "copy-ca", "configMap": {"name": spec.ca_config_map}})
        return volumes


def _key(path: str) -> str:
    """Under what a ConfigMap has a file, whose keys are no paths."""
    return path.replace("/", "-")
