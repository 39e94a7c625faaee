"""Trusted publishing: a job of CI exchanges the identity that its issuer vouches for, and keeps no password."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.addresses import IssuerUrl, ServiceUrl
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Form, Peer, Port
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.patterns import AnyNamePattern, needless
from cdk8s_pypiserver.base.peers import PUBLIC
from cdk8s_pypiserver.base.problems import Problem

from .permission_rules import CALLED

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

DIRECTORY = "/etc/pypiserver/trusted-publishing"
FILE = "publishers.json"
VOLUME = "trusted-publishing"
OF_OTHERS = frozenset({"pypi", "testpypi", "sigstore"})
"""Audiences of other services: who gets such an identity could use it there."""
MOST_PROJECTS, LONGEST_PROJECTS = 500, 2000
"""How many patterns a publisher can have, and how many characters they can have with a comma between two: the server
passes them on in a header."""


def _no_audience(value: str) -> str | None:
    if value in OF_OTHERS:
        return "must be of this registry alone, such as its host: identities for it would be good elsewhere too"
    return None


PublisherName = Annotated[
    str,
    Form(CALLED, "must be lower-case letters, digits, - and .", 63),
]
"""Name of a trusted publisher, which is in its tokens."""

Audience = Annotated[
    str, Form(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", "must be a name such as pypi.example.org", 200, _no_audience)
]
"""Whom identities are for."""

Claim = Annotated[str, Form(r"[\x21-\x7e]+", "must be the name of a claim such as sub or project_path", 100)]
"""The name of a claim."""

ClaimValue = Annotated[str, Form(r"[^\x00-\x1f\x7f]+", "must be one line", 1000)]
"""What a claim has to say, as a whole; a number or true in words."""


class TrustedPublisherSpec(Spec):
    """Jobs that may publish, by what their issuer says of them."""

    name: PublisherName
    """What it is called in the audit trail, and after `token:` in permissions."""
    issuer: IssuerUrl
    """The issuer of the identities (`iss`), such as `https://gitlab.example.org` or
    `https://token.actions.githubusercontent.com`."""
    claims: Annotated[Mapping[Claim, ClaimValue], Field(min_length=1)]
    """Claims that an identity must have, all of them, with just these values; what they mean is the issuer's to say."""
    projects: Annotated[Sequence[AnyNamePattern], Field(min_length=1)]
    """Names and patterns of projects that the jobs may publish; 500 at most, with 2000 characters."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield projects that the server could not pass on, or that are meant already."""
        yield from super().conflicts()
        yield from needless("projects", self.projects)
        if len(self.projects) > MOST_PROJECTS:
            yield self.problem("projects", f"must be {MOST_PROJECTS} at most; patterns say more with fewer")
        elif len(",".join(self.projects)) > LONGEST_PROJECTS:
            yield self.problem(
                "projects", f"must have {LONGEST_PROJECTS} characters at most; patterns say more with fewer"
            )


class TrustedPublishingSpec(Spec):
    """The exchange that `uv publish --trusted-publishing` and gh-action-pypi-publish speak.

    The Secret of AuthSpec has to have the key `signing-key`, of 32 characters or more.
    """

    VERIFIER: ClassVar[str] = images.VERIFIER
    """Image of oauth2-proxy, for the container that `verifier` speaks with by default."""

    audience: Audience
    """Whom identities have to be for (`aud`): this registry and no other service."""
    verifier: ServiceUrl = "http://127.0.0.1:4180/oauth2/auth"
    """What says whether an identity is of an issuer, for the audience and not ended: 2xx to GET with it as Bearer, 401
    or 403 otherwise. By default oauth2-proxy in a container of the pod: it is spoken to in the clear."""
    publishers: Annotated[Sequence[TrustedPublisherSpec], Field(min_length=1)]
    """The jobs; the first that fits an identity counts."""
    ports: Annotated[Sequence[Port], Field(min_length=1)] = (443,)
    """Ports at which a network policy lets the pods reach the issuers, or the verifier if that is elsewhere."""
    peers: Annotated[Sequence[Peer], Field(min_length=1)] = PUBLIC
    """Peers (NetworkPolicyPeer) that it lets them reach there; every public address by default."""

    @property
    def text(self) -> str:
        """The file that the server reads."""
        publishers = [
            {"name": each.name, "issuer": each.issuer, "claims": dict(each.claims), "projects": list(each.projects)}
            for each in self.publishers
        ]
        said = {"audience": self.audience, "verifier": self.verifier, "publishers": publishers}
        return f"{json.dumps(said, indent=2)}\n"

    def conflicts(self) -> Iterator[Problem]:
        """Yield what contradicts itself, and what has no effect."""
        yield from super().conflicts()
        if self.verifier.startswith("https://"):
            yield self.problem("verifier", "must begin with http://: it is in the pod, or a proxy on the way is")
        names = [each.name for each in self.publishers]
        for number, each in enumerate(self.publishers):
            if each.name in names[:number]:
                yield Problem(("publishers", number, "name"), each.name, "is there twice")
            for before in self.publishers[:number]:
                if before.issuer == each.issuer and before.claims.items() <= each.claims.items():
                    reason = f"fits no identity that publishers[{names.index(before.name)}] does not fit before"
                    yield Problem(("publishers", number, "claims"), dict(each.claims), reason)


class TrustedPublishing(Construct):
    """The file of publishers, in a ConfigMap, and where jobs ask: what `registry.trusted_publishing` is.

    Attributes:
        spec: The spec.
        files: The ConfigMap.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: TrustedPublishingSpec) -> None:
        """Join the registry."""
        super().__init__(sockets, id_)
        self.spec = spec
        self.files = ConfigFiles(
            self, "Default", identity=sockets.identity, suffix="trusted-publishing", files={FILE: spec.text}
        )
        sockets.pod.add_late_volume(VOLUME, lambda: self.files.volume(VOLUME))
        sockets.server.add_mount(VOLUME, DIRECTORY, read_only=True)
        sockets.server.set("TRUSTED_PUBLISHERS", f"{DIRECTORY}/{FILE}")
        for place in ("http", "server"):
            text = runtime_files("gateway")[f"{place}-trusted-publishing.conf"]
            sockets.gateway.add_file(place, "trusted-publishing", text)
        sockets.network.allow_to(spec.peers, ports=[*spec.ports])
        sockets.network.allow_names()
