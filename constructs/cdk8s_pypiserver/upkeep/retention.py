"""Old versions go, by rules: a CronJob that reads the index as a client does and has the server remove or yank them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.access.network import NAMES, Way
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Form, Host, Name
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources, Spec
from cdk8s_pypiserver.base.patterns import Requirement
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.base.schedules import Schedule, TimeZone
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.exposure.certificates import secret_name
from cdk8s_pypiserver.exposure.gateway_tls import GatewayTLSSpec
from cdk8s_pypiserver.monitoring.alerts import Age, age_seconds
from cdk8s_pypiserver.pod.gateway import HTTPS_PORT, PORT
from cdk8s_pypiserver.pod.hardening import hardened, mount, requirements
from cdk8s_pypiserver.pod.server import FILES_DIRECTORY as SERVER_DIRECTORY

from .cron_job import CronJob
from .retention_rules import RetentionRuleSpec, without_effect

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

COMPONENT = "retention"
FILE = "rules.json"
DIRECTORY = "/etc/pypiserver"
CREDENTIALS_VOLUME = "retention-credentials"
CA_VOLUME = "retention-ca"
LOCKS_VOLUME = "retention-locks"
FILES_VOLUME = "retention-files"
RULES_VOLUME = "retention-rules"
ROOMS = ("index",)
"""Rooms of runtime/server that the program uses too: how a name and a version are read, and what a pattern means."""
LONGEST_RUN_SECONDS = 6 * 60 * 60
"""A million projects are read in less (docs/capacity.md)."""
REASON = "superseded"

YankReason = Annotated[str, Form(r"[^\x00-\x1f\x7f]+", "must be one line of text", 1000)]
"""Why versions are yanked, as installers show it."""


class RetentionSpec(Spec):
    """Which versions go, when, and how many at most; by default a report of what would go, and nothing else.

    What may go by its rule stays if it is pinned, named by a lock file, or too young.
    """

    rules: Annotated[Sequence[RetentionRuleSpec], Field(min_length=1)]
    """The rules; a project falls under the first that is about it, and stays as it is if none is."""
    dry_run: bool = True
    """Whether the report is all: its text is the log of the Job's pod. Look at one before this is False."""
    action: Literal["remove", "yank"] = "remove"
    """What becomes of a version. One that is yanked is still there for whoever pins it; one that is removed is not, and
    that needs `server.allow_removal`."""
    yank_reason: YankReason | None = None
    """What installers say of a yanked version; `superseded` if nothing is said."""
    pinned: Sequence[Requirement] = ()
    """Names, with versions or without, that never go: `acme-tools`, `acme-*==1.*`, `legacy<2`."""
    lock_config_maps: Sequence[Name] = ()
    """ConfigMaps of lock files, in the registry's namespace: what they name never goes. A key is the name of a file:
    `uv.lock`, `poetry.lock`, `pylock.toml`, or any of these with something and a dot in front, and `*.txt`."""
    minimum_age_days: Annotated[int, Field(ge=1, le=100_000)] = 7
    """Days after its upload before any version may go."""
    most_versions: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Versions that one run may take; a run that would take more takes none and fails, with the numbers."""
    most_percent: Annotated[int, Field(ge=1, le=100)] = 10
    """The same as a share of all versions of the registry."""
    schedule: Schedule = "30 3 * * *"
    """When it runs."""
    time_zone: TimeZone | None = None
    """Time zone of the schedule; that of the control plane if nothing is said."""
    max_age: Age = "26h"
    """How long ago the last run that did all may be, before there is an alert, once one has told of itself."""
    credentials_secret: Name | None = None
    """Secret with the keys `username` and `password` of a publisher, or, for a dry run, of anybody who may read;
    `<name>-retention` by default."""
    tls_name: Host | None = None
    """Name that the certificate of `gateway_tls` is for; by default the first that is asked for there
    (`certificate.hosts`), else the Service's."""
    ca_config_map: Name | None = None
    """ConfigMap whose key `ca.crt` has the certificates by which `gateway_tls` is known; by default the Secret's own
    `ca.crt`, as cert-manager writes it, else those of the image."""
    patience_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """Seconds for which a registry that is away is asked again."""
    resources: Resources = Resources(memory_limit="512Mi")
    """Requests and limits."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what contradicts itself, and what has no effect."""
        yield from super().conflicts()
        yield from without_effect(self.rules, self.pinned)
        for number, rule in enumerate(self.rules):
            if rule.keep_days is not None and rule.keep_days < self.minimum_age_days:
                reason = f"must not be below minimum_age_days ({self.minimum_age_days}), before which nothing goes"
                yield Problem(("rules", number, "keep_days"), rule.keep_days, reason)
        if self.yank_reason is not None and self.action != "yank":
            yield self.problem("yank_reason", f"must be left out with action ({self.action})")

    def configuration(self, *, port: int, tls: bool, tls_name: str | None) -> Mapping[str, Any]:
        """Return what the program reads, for a registry whose Service has this port."""
        return {
            "port": port,
            "tls": tls,
            "tls_name": tls_name,
            "rules": [{**rule.model_dump(), "projects": list(rule.projects)} for rule in self.rules],
            "pinned": list(self.pinned),
            "lock_config_maps": list(self.lock_config_maps),
            "minimum_age_days": self.minimum_age_days,
            "action": self.action,
            "yank_reason": self.yank_reason or REASON,
            "dry_run": self.dry_run,
            "most_versions": self.most_versions,
            "most_percent": self.most_percent,
            "patience_seconds": self.patience_seconds,
        }


class Retention(Construct):
    """The CronJob and its files.

    Attributes:
        spec: The spec.
        files: ConfigMap of the program.
        rules: ConfigMap of the rules.
        cron_job: The CronJob.
    """

    def __init__(
        self, sockets: "Sockets", id_: str, *, spec: RetentionSpec, port: int, tls: GatewayTLSSpec | None
    ) -> None:
        """Join the registry.

        Args:
            sockets: The registry.
            id_: Name of this construct in it.
            spec: The spec.
            port: Port of the Service, in the clear.
            tls: HTTPS at the pod, which is used where it is to be had.
        """
        super().__init__(sockets, id_)
        self.spec = spec
        self._sockets = sockets
        self._tls = tls
        identity = sockets.identity
        asked = tls.certificate.hosts[0] if tls and tls.certificate else None
        configuration = spec.configuration(
            port=tls.port if tls else port, tls=tls is not None, tls_name=(spec.tls_name or asked) if tls else None
        )
        text = json.dumps(configuration, indent=2) + "\n"
        self.files = ConfigFiles(self, "files", identity=identity, suffix=COMPONENT, files=runtime_files("retention"))
        sockets.server.set("RETENTION_MAX_AGE_SECONDS", str(age_seconds(spec.max_age)))
        self.rules = ConfigFiles(self, "rules", identity=identity, suffix=RULES_VOLUME, files={FILE: text})
        self.cron_job = CronJob(
            self,
            "Default",
            sockets=sockets,
            component=COMPONENT,
            schedule=spec.schedule,
            time_zone=spec.time_zone,
            longest_seconds=LONGEST_RUN_SECONDS,
            container=self.container,
            volumes=self.volumes,
        )
        own = {"podSelector": {"matchLabels": identity.selector_of(COMPONENT)}}
        # A way to a port that nothing listens at does no harm: so the policy is the same with HTTPS at the pod or not.
        ports = (PORT, HTTPS_PORT)
        sockets.network.allow_from([own], ports=ports)
        sockets.network.isolate(
            COMPONENT,
            [
                Way([{"podSelector": {"matchLabels": identity.selector}}], ports),
                *NAMES,
            ],
        )

    @property
    def credentials_secret(self) -> str:
        """Name of the Secret with the publisher."""
        return self.spec.credentials_secret or self._sockets.identity.name_of(COMPONENT)

    def container(self) -> Manifest:
        """Return the container."""
        environment = {
            "CERTIFICATES": f"{DIRECTORY}/{CA_VOLUME}/ca.crt",
            "CREDENTIALS_DIRECTORY": f"{DIRECTORY}/{CREDENTIALS_VOLUME}",
            "CREDENTIALS_SECRET": self.credentials_secret,
            "LOCKS_DIRECTORY": f"{DIRECTORY}/{LOCKS_VOLUME}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": DIRECTORY,
            "REGISTRY_HOST": self._sockets.identity.name,
            "RULES_FILE": f"{DIRECTORY}/{RULES_VOLUME}/{FILE}",
        }
        return {
            "name": COMPONENT,
            "image": self._sockets.server.spec.image,
            "imagePullPolicy": self._sockets.server.spec.image_pull_policy,
            "command": ["python", "-m", "retention.main"],
            "env": variables(environment),
            "securityContext": hardened(),
            "resources": requirements(self.spec.resources),
            "volumeMounts": [
                mount(FILES_VOLUME, f"{DIRECTORY}/retention", read_only=True),
                mount(RULES_VOLUME, f"{DIRECTORY}/{RULES_VOLUME}", read_only=True),
                mount(CREDENTIALS_VOLUME, f"{DIRECTORY}/{CREDENTIALS_VOLUME}", read_only=True),
                *(mount(f"server-{room}", f"{SERVER_DIRECTORY}/{room}", read_only=True) for room in ROOMS),
                *([mount(CA_VOLUME, f"{DIRECTORY}/{CA_VOLUME}", read_only=True)] if self._tls else []),
                *(
                    mount(f"{LOCKS_VOLUME}-{number}", f"{DIRECTORY}/{LOCKS_VOLUME}/{name}", read_only=True)
                    for number, name in enumerate(self.spec.lock_config_maps)
                ),
            ],
        }

    def volumes(self) -> list[Manifest]:
        """Return the volumes of its pods.

        What comes from outside is optional: a pod that waits for it would say nothing, and the program says what is
        missing.
        """
        files = self._sockets.server.files
        return [
            self.files.volume(FILES_VOLUME),
            self.rules.volume(RULES_VOLUME),
            {"name": CREDENTIALS_VOLUME, "secret": {"secretName": self.credentials_secret, "optional": True}},
            *(files[room].volume(f"server-{room}") for room in ROOMS),
            *([self._ca(self._tls)] if self._tls else []),
            *(
                {"name": f"{LOCKS_VOLUME}-{number}", "configMap": {"name": name, "optional": True}}
                for number, name in enumerate(self.spec.lock_config_maps)
            ),
        ]

    def _ca(self, tls: GatewayTLSSpec) -> Manifest:
        # Of the Secret nothing but this: the key is the gateway's.
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        if name := self.spec.ca_config_map:
            return {"name": CA_VOLUME, "configMap": {"name": name, "items": items, "optional": True}}
        secret = secret_name(tls.secret, self._sockets.identity)
        return {"name": CA_VOLUME, "secret": {"secretName": secret, "items": items, "optional": True}}
