"""Attestations (PEP 740): whose signature the files of a project must have, and the container that verifies it."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.addresses import IndexUrl
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Form, Image, Name, Peer
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources, Spec
from cdk8s_pypiserver.base.patterns import AnyNamePattern, PatternIndex, normalised
from cdk8s_pypiserver.base.peers import PUBLIC
from cdk8s_pypiserver.base.places import Place, place
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.pod import libraries
from cdk8s_pypiserver.pod.container import ContainerSpec
from cdk8s_pypiserver.pod.gateway import after_the_gateway
from cdk8s_pypiserver.pod.hardening import exec_probe, hardened, mount, requirements, scratch
from cdk8s_pypiserver.pod.server import FILES_DIRECTORY as SERVER_DIRECTORY

from .permissions import LARGEST

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

CONTAINER = "attestations"
PORT = 8085
"""On loopback, as in runtime/server/pod/settings.py."""
ROOM = "attesting"
"""The room of runtime/server that the program is made of, and the library that begins and ends it."""
LIBRARY_ROOM = "fetching"
FILE = "attestations.json"
DIRECTORY = "/etc/pypiserver/attestations"
VOLUME = "attestations"
TRUST_ROOT = "trusted_root.json"
TRUST_ROOT_DIRECTORY = "/etc/pypiserver/trust-root"
CA_DIRECTORY = "/etc/pypiserver/attestations-ca"

_PART = r"[A-Za-z0-9_.-]+"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _no_workflow(value: str) -> str | None:
    if "/" in value:
        return "must be the name of the file alone: workflows are in .github/workflows"
    return None


GitHubRepository = Annotated[
    str, Form(rf"{_PART}/{_PART}", "must be owner and name as GitHub spells them, such as acme/lib", 200)
]
"""A repository of GitHub."""

GitHubWorkflow = Annotated[
    str, Form(rf"{_PART}\.ya?ml", "must be the file name of a workflow such as release.yml", 200, _no_workflow)
]
"""A file in .github/workflows."""

GitLabRepository = Annotated[
    str, Form(rf"{_PART}(?:/{_PART})+", "must be the path of a project at gitlab.com such as acme/team/lib", 500)
]
"""A project of gitlab.com."""

GitLabWorkflow = Annotated[
    str, Form(rf"{_PART}(?:/{_PART})*\.ya?ml", "must be the path of a configuration such as .gitlab-ci.yml", 500)
]
"""A configuration of GitLab CI, in its repository."""

Email = Annotated[
    str,
    Form(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", "must be an address such as ci@acme.example", 254),
]
"""An e-mail address."""

Uuid = Annotated[str, Form(_UUID, "must be a UUID such as 7d6f8b1c-0000-4000-8000-000000000000, in lower case", 36)]
"""A UUID."""

Origin = Annotated[str, Form(rf"{_PART}(?:/{_PART})+", "must be a repository such as github.com/acme/lib", 500)]
"""A repository, with the host before it."""

Ref = Annotated[str, Form(r"refs/[A-Za-z0-9_./+-]+", "must be a ref such as refs/heads/main", 500)]
"""A branch or a tag."""


class GitHubIdentitySpec(Spec):
    """Workflows of GitHub Actions. The environment of a job is in no certificate, and cannot be asked for."""

    kind: Literal["GitHub"] = "GitHub"
    """Which kind this is."""
    repository: GitHubRepository
    """Owner and name, in just this spelling."""
    workflow: GitHubWorkflow
    """Name of its file in `.github/workflows`; on whatever branch or tag it runs."""


class GitLabIdentitySpec(Spec):
    """Pipelines of gitlab.com."""

    kind: Literal["GitLab"] = "GitLab"
    """Which kind this is."""
    repository: GitLabRepository
    """Path of the project, in just this spelling."""
    workflow_filepath: GitLabWorkflow = ".gitlab-ci.yml"
    """Path of the configuration at the top of the pipeline."""


class GoogleIdentitySpec(Spec):
    """A service account of Google Cloud."""

    kind: Literal["Google"] = "Google"
    """Which kind this is."""
    email: Email
    """Its address."""


class CircleCIIdentitySpec(Spec):
    """Pipelines of CircleCI."""

    kind: Literal["CircleCI"] = "CircleCI"
    """Which kind this is."""
    project_id: Uuid
    """The project."""
    pipeline_definition_id: Uuid
    """The definition of the pipeline."""
    vcs_origin: Origin | None = None
    """The repository that it was started by; any by default."""
    vcs_ref: Ref | None = None
    """The branch or tag of it; any by default."""


AnyIdentity = Annotated[
    GitHubIdentitySpec | GitLabIdentitySpec | GoogleIdentitySpec | CircleCIIdentitySpec, Field(discriminator="kind")
]
"""Who signs, told apart by `kind`."""


class AttestedPublisherSpec(Spec):
    """Projects, and who signs their files."""

    projects: Annotated[Sequence[AnyNamePattern], Field(min_length=1)]
    """Names and patterns of projects."""
    identity: AnyIdentity
    """Who signs. Where several of these name a project, each of them may."""
    required: bool = True
    """Whether a file must have an attestation; False for those that come without one, too. What one has must always
    verify."""

    @property
    def written(self) -> Mapping[str, Any]:
        """What the file of the rules has."""
        identity = self.identity.model_dump(exclude_none=True)
        return {"projects": list(self.projects), "publisher": identity, "required": self.required}


class AttestationsSpec(ContainerSpec):
    """Attestations that are verified before a file is stored, by pypi-attestations in a container of its own.

    Those of a project that no publisher here has are checked for form alone, and served as they came.
    """

    publishers: Annotated[Sequence[AttestedPublisherSpec], Field(min_length=1)]
    """Whose signature the files of which projects have."""
    trust_root_config_map: Name | None = None
    """ConfigMap whose key `trusted_root.json` says which authorities and logs are trusted; by default those of
    Sigstore's public service, as the library knows them. Read when the container starts."""
    libraries: IndexUrl | None = "https://pypi.org/simple/"
    """Index that the libraries come from when a pod starts, each of one version and known by its sha256. None if
    `image` has them: what the extra `attestations` of cdk8s-pypiserver installs."""
    image: Image | None = None
    """Image with Python 3.11 or later, a shell and, for `libraries`, pip; the server's by default."""
    ca_config_map: Name | None = None
    """ConfigMap whose key `ca.crt` has the certificates by which `libraries` is known; those that come with Python by
    default."""
    peers: Annotated[Sequence[Peer], Field(min_length=1)] = PUBLIC
    """Peers (NetworkPolicyPeer) that a network policy lets the pods reach, at the port of `libraries`; every public
    address by default."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity of what is logged."""
    resources: Resources = Resources(cpu_request="20m", memory_request="128Mi", memory_limit="512Mi")
    """Requests and limits."""

    @property
    def places(self) -> list[Place]:
        """Where the pods connect to."""
        return [place(self.libraries)] if self.libraries else []

    @property
    def text(self) -> str:
        """The file that the server reads, with a line for each publisher."""
        lines = ",\n".join(f"    {json.dumps(each.written)}" for each in self.publishers)
        return f'{{\n  "publishers": [\n{lines}\n  ]\n}}\n'

    def conflicts(self) -> Iterator[Problem]:
        """Yield what contradicts itself, and what has no effect."""
        yield from super().conflicts()
        yield from _twins(self.publishers)
        yield from _required_by_another(self.publishers)
        if not self.libraries and not self.image:
            reason = "must be given without libraries: the server's image has none of them"
            yield Problem(("image",), NO_VALUE, reason)
        if self.ca_config_map and not self.libraries:
            yield self.problem("ca_config_map", "must be left out without libraries: nobody is asked")
        if (size := len(self.text)) > LARGEST:
            reason = f"must be fewer; patterns say more: the file has {size} bytes, and {LARGEST} can be applied"
            yield Problem(("publishers",), NO_VALUE, reason)


def _patterns(publishers: Sequence[AttestedPublisherSpec]) -> Iterator[tuple[int, int, str]]:
    for number, each in enumerate(publishers):
        for at, pattern in enumerate(each.projects):
            yield number, at, normalised(pattern)


def _twins(publishers: Sequence[AttestedPublisherSpec]) -> Iterator[Problem]:
    of_identity: dict[str, PatternIndex[int]] = defaultdict(PatternIndex)
    identities = [each.identity.model_dump_json() for each in publishers]
    for number, at, pattern in _patterns(publishers):
        before = of_identity[identities[number]]
        if found := before.covering(pattern):
            reason = f"is there twice: publishers[{found[0]}] has it for the same identity"
            yield Problem(("publishers", number, "projects", at), publishers[number].projects[at], reason)
        before.add(pattern, number)


def _required_by_another(publishers: Sequence[AttestedPublisherSpec]) -> Iterator[Problem]:
    patterns = list(_patterns(publishers))
    required = PatternIndex((each[2], each) for each in patterns if publishers[each[0]].required)
    for number, _, pattern in patterns:
        if publishers[number].required:
            continue
        if found := required.covering(pattern):
            other, _, wider = found[0]
            reason = f"cannot be had for {pattern}: publishers[{other}] requires an attestation of it ({wider})"
            yield Problem(("publishers", number, "required"), publishers[number].required, reason)


class Attestations(Construct):
    """The file of the rules, the program, and the container that it runs in: what `registry.attestations` is.

    Attributes:
        spec: The spec.
        files: ConfigMap of the rules.
        program: ConfigMap of the program, and of what its libraries are.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: AttestationsSpec) -> None:
        """Join the registry."""
        super().__init__(sockets, id_)
        self.spec = spec
        self._sockets = sockets
        identity = sockets.identity
        self.files = ConfigFiles(self, "Default", identity=identity, suffix="attestations", files={FILE: spec.text})
        shipped = runtime_files(f"server/{ROOM}")
        program = {name: text for name, text in shipped.items() if spec.libraries or name != libraries.REQUIREMENTS}
        self.program = ConfigFiles(self, "program", identity=identity, suffix=ROOM, files=program)
        # Where one pod alone writes, the others are asked for no upload.
        sockets.pod.add_late_container(CONTAINER, self.container, publishes=True)
        sockets.pod.add_late_volume(VOLUME, lambda: self.files.volume(VOLUME))
        sockets.pod.add_late_volume(ROOM, lambda: self.program.volume(ROOM))
        sockets.pod.put_volume(scratch("attestations-tmp", "512Mi"))
        if spec.libraries:
            sockets.pod.put_volume(scratch("attestations-libraries", "512Mi"))
        for name, config_map in self._config_maps().items():
            # Optional: whoever reads needs none of it, and the log of the container says what is missing.
            sockets.pod.put_volume({"name": name, "configMap": {"name": config_map, "optional": True}})
        sockets.server.add_mount(VOLUME, DIRECTORY, read_only=True)
        sockets.server.set("ATTESTATIONS", f"{DIRECTORY}/{FILE}")
        for each in spec.places:
            sockets.network.allow_to(spec.peers, ports=[each.port])
            sockets.network.allow_names()
        sockets.pod.keep_port(PORT, container=CONTAINER)

    def container(self) -> Manifest:
        """Return the container."""
        spec, server = self.spec, self._sockets.server
        files = f"{SERVER_DIRECTORY}/{ROOM}"
        authorities = f"{CA_DIRECTORY}/ca.crt" if spec.ca_config_map else None
        path = SERVER_DIRECTORY.rpartition("/")[0]
        environment = {
            "HOME": "/tmp",  # noqa: S108 - of the container
            "LOG_LEVEL": spec.log_level,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{path}:{libraries.DIRECTORY}" if spec.libraries else path,
            **(libraries.environment(spec.libraries, authorities=authorities) if spec.libraries else {}),
            **(
                {"ATTESTATIONS_TRUST_ROOT": f"{TRUST_ROOT_DIRECTORY}/{TRUST_ROOT}"}
                if spec.trust_root_config_map
                else {}
            ),
        }
        # By the container itself, not by one before it: while the index is away the pod starts, and packages are read.
        install = libraries.command(f"{files}/{libraries.REQUIREMENTS}", "--upgrade") if spec.libraries else None
        container = {
            "name": CONTAINER,
            "image": spec.image or server.spec.image,
            "command": ["python", "-m", f"server.{ROOM}.main"],
            "args": install,
            "env": variables(environment),
            "securityContext": hardened(),
            "resources": requirements(spec.resources),
            # It listens on loopback only. The pod is ready without it: whoever reads needs no attestation verified.
            "livenessProbe": exec_probe("python", "-m", f"server.{ROOM}.health", period=30, timeout=10, failures=3),
            "lifecycle": after_the_gateway(server.grace_seconds),
            "volumeMounts": self._mounts(files),
        }
        return spec.applied(container)

    def _mounts(self, files: str) -> list[Manifest]:
        places = {"attestations-trust-root": TRUST_ROOT_DIRECTORY, "attestations-ca": CA_DIRECTORY}
        return [
            mount("attestations-tmp", "/tmp"),  # noqa: S108 - of the container
            *([mount("attestations-libraries", libraries.DIRECTORY)] if self.spec.libraries else []),
            mount(ROOM, files, read_only=True),
            mount(f"server-{LIBRARY_ROOM}", f"{SERVER_DIRECTORY}/{LIBRARY_ROOM}", read_only=True),
            *(mount(name, places[name], read_only=True) for name in self._config_maps()),
        ]

    def _config_maps(self) -> Mapping[str, str]:
        """ConfigMaps of the user's, by the volumes that they are."""
        named = {
            "attestations-trust-root": self.spec.trust_root_config_map,
            "attestations-ca": self.spec.ca_config_map,
        }
        return {volume: name for volume, name in named.items() if name}
