"""An index that is asked for public packages."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from cdk8s_pypiserver.base.addresses import FileHost, IndexUrl
from cdk8s_pypiserver.base.fields import Form, Name
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.places import Place, place
from cdk8s_pypiserver.base.problems import Problem

_IN_THE_CLEAR = "http://"
_NAME = Form(
    r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?",
    "must be a name of lower-case letters, digits and -, with a letter or digit at both ends",
    40,  # so that the name of a volume can be made of it
)
IndexName = Annotated[str, _NAME]
"""Name of an index in metrics, in the log and in paths."""


class UpstreamIndexSpec(Spec):
    """An index of PEP 503 or PEP 691; nothing is asked but this and the hosts of its files."""

    name: IndexName | None = None
    """Name in metrics and in the log; its host by default, with - for each dot."""
    url: IndexUrl
    """Address of the index: what stands before `<project>/`."""
    file_hosts: Sequence[FileHost] = ()
    """Hosts from which its files may be fetched, besides its own: a link or a redirect to any other is not followed."""
    credentials_secret: Name | None = None
    """Secret with the keys `username` and `password` for the index, in the registry's namespace; picked up without a
    restart when it changes. They are sent to the index's own host alone."""
    ca_config_map: Name | None = None
    """ConfigMap whose key `ca.crt` has the certificates by which the index and its file hosts are known; those of the
    image by default."""
    ca_secret: Name | None = None
    """Secret that has them, under the same key."""
    plain_http: bool = False
    """Whether the index is asked without TLS: whoever is on the way can then change what is served here, as every hash
    that is compared comes the same way, and can read the password."""

    @property
    def called(self) -> str:
        """The name in metrics, in the log and in paths."""
        return self.name or self._place.host.strip("[]").replace(".", "-").replace(":", "-")

    @property
    def address(self) -> str:
        """The URL, which ends with a slash."""
        return f"{self.url.rstrip('/')}/"

    @property
    def places(self) -> list[Place]:
        """Where the index and its files are."""
        scheme = "http" if self.plain_http else "https"
        return list(dict.fromkeys([self._place, *(place(host, scheme) for host in self.file_hosts)]))

    @property
    def _place(self) -> Place:
        return place(self.url)

    def conflicts(self) -> Iterator[Problem]:
        """Yield an index without TLS, if nobody has said so, and what does not go with it."""
        yield from super().conflicts()
        in_the_clear = self.url.startswith(_IN_THE_CLEAR)
        if in_the_clear and not self.plain_http:
            yield self.problem(
                "url", "must begin with https://: others on the way could change it; if that is meant, set plain_http"
            )
        if self.plain_http and not in_the_clear:
            yield self.problem("plain_http", f"must be False with url ({self.url}), which has TLS")
        if self.ca_config_map and self.ca_secret:
            yield self.problem("ca_config_map", f"must be left out with ca_secret ({self.ca_secret})")
        for field in ("ca_config_map", "ca_secret"):
            if in_the_clear and getattr(self, field):
                yield self.problem(field, f"must be left out with url ({self.url}), which has no TLS")
        if self.name is None and (reason := _NAME.reason(self.called)):
            yield self.problem("name", f"must be given with url ({self.url}): {self.called} {reason}")
