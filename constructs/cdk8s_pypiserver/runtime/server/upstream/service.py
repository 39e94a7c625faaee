"""What is answered to the server and the gateway of the pod: pages, files, and whether a project is there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from server.fetching.answers import AwayError, RefusedError
from server.fetching.fetches import CHUNK, Order
from server.fetching.listener import Reply
from server.upstream import rendering
from server.upstream.filenames import version_of
from server.upstream.policy import KINDS, NotServedError
from server.upstream.projects import MissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.fetching.cache import Cache
    from server.fetching.counters import Counters
    from server.fetching.fetches import Fetch, Fetches
    from server.upstream.connections import Connections
    from server.upstream.page import PublicFile
    from server.upstream.policy import Hidden, Policy
    from server.upstream.projects import Project, Projects

CHANGED = 1_000_000_000.0
"""The time of change of a file whose index does not say when it was uploaded."""
METADATA, PROVENANCE = ".metadata", ".provenance"
ANY = "-none-any.whl"
"""The end of a wheel's name that is for every platform."""
LARGE_PAGE = 5000
"""From how many files on a page waits until it is its turn to be made."""
LARGEST_PROVENANCE = 2**20
LARGEST_METADATA = 16 * 2**20
"""A README is in it."""
_log = logging.getLogger("upstream")


class Upstream:
    """Answers by what the indexes say, as far as the policy lets it through."""

    def __init__(  # noqa: PLR0913
        self,
        indexes: Sequence[Connections],
        *,
        projects: Projects,
        policy: Policy,
        cache: Cache,
        fetches: Fetches,
        counters: Counters,
    ) -> None:
        """Bring these together."""
        self._indexes = {each.index.name: each for each in indexes}
        self._projects = projects
        self._policy = policy
        self._cache = cache
        self._fetches = fetches
        self._counters = counters
        # One at a time: each takes some hundred megabytes while it is made.
        self._large = threading.Lock()
        for kind in KINDS:
            counters.add("hidden_files_total", 0, reason=kind)

    def page(self, name: str, form: str) -> Reply:
        """The page of a project, in the form `json` or `html`."""
        if refusal := self._policy.refusal(name):
            raise NotServedError(refusal)
        project, served, hidden = self._sorted(name)
        for each in hidden:
            self._counters.add("hidden_files_total", reason=each.kind)
        elsewhere = sorted({each.reason for each in hidden if each.kind == "host"})
        if elsewhere:
            _log.warning("files of %s are left out, the first since %s", name, elsewhere[0])
        fresh = int(self._projects.fresh_seconds(project))
        if len(served) <= LARGE_PAGE:
            self._expect(name, served)
        headers = {"X-Hidden": str(len(hidden)), "Cache-Control": f"max-age={fresh}"}
        with self._large if len(served) > LARGE_PAGE else contextlib.nullcontext():
            page = rendering.detail(name, project.page, served)
            if form == "html":
                return Reply(HTTPStatus.OK, rendering.html(page).encode(), "text/html; charset=utf-8", headers)
            text = json.dumps(page, separators=(",", ":"))
            return Reply(HTTPStatus.OK, text.encode(), "application/vnd.pypi.simple.v1+json", headers)

    def exists(self, name: str) -> Reply:
        """Whether any index has a project, whatever the policy says of it."""
        self._projects.project(name)
        return Reply(HTTPStatus.OK, b"yes\n")

    def hidden(self, name: str) -> Reply:
        """What the policy hides of a project, and why."""
        if refusal := self._policy.refusal(name):
            content: dict[str, Any] = {"name": name, "refused": refusal, "hidden": []}
        else:
            _, _, hidden = self._sorted(name)
            content = {"name": name, "refused": None, "hidden": [each._asdict() for each in hidden]}
        return Reply(HTTPStatus.OK, f"{json.dumps(content, indent=1)}\n".encode(), "application/json")

    def metrics(self) -> Reply:
        """The metrics."""
        gauges = {
            "up": {f'index="{name}"': float(not each.rests) for name, each in self._indexes.items()},
            "cache_bytes": {"": float(self._cache.size)},
            "cache_limit_bytes": {"": float(self._cache.limit)},
            "cache_files": {"": float(self._cache.count)},
        }
        return Reply(HTTPStatus.OK, self._counters.text(gauges).encode(), "text/plain; version=0.0.4; charset=utf-8")

    def provenance(self, name: str, sha256: str, filename: str) -> Reply:
        """The provenance object of a file (PEP 740)."""
        project, file = self._file(name, sha256, filename)
        if not file.provenance:
            raise MissingError(f"{filename}{PROVENANCE}")
        with self._indexes[project.source].answer(file.provenance, {}) as answer:
            if answer.status != HTTPStatus.OK:
                raise MissingError(f"{filename}{PROVENANCE}")
            body = b""
            while len(body) <= LARGEST_PROVENANCE and (chunk := answer.read(CHUNK)):
                body += chunk
        if len(body) > LARGEST_PROVENANCE:
            raise RefusedError(f"the provenance of {filename} has more than {LARGEST_PROVENANCE} bytes")
        return Reply(HTTPStatus.OK, body, "application/vnd.pypi.integrity.v1+json")

    def file(self, name: str, sha256: str, filename: str) -> tuple[Fetch, int, float]:
        """A file that is being fetched, or its METADATA; a descriptor of it, and its time of change."""
        wanted = filename.removesuffix(METADATA)
        project, file = self._file(name, sha256, wanted)
        changed = file.uploaded.timestamp() if file.uploaded else CHANGED
        url, digest, size, most = file.url, sha256, file.size, self._cache.limit
        if filename != wanted:
            if not file.metadata:
                raise MissingError(filename)
            url, digest, size, most = f"{file.url}{METADATA}", file.metadata, None, LARGEST_METADATA
        # In whole seconds, of which nginx makes its ETag.
        order = Order(self._indexes[project.source], url, digest, size, most, float(int(changed)))
        return *self._fetches.join(self._cache.files / name / sha256 / filename, order), order.changed

    def _file(self, name: str, sha256: str, filename: str) -> tuple[Project, PublicFile]:
        if refusal := self._policy.refusal(name):
            raise NotServedError(refusal)
        project = self._projects.project(name)
        for file in project.page.files:
            if (file.filename, file.sha256) == (filename, sha256):
                hidden = self._policy.why(name, file, project.page, self._indexes[project.source].index)
                if hidden:
                    raise NotServedError(f"{filename} is not served: {hidden.reason}")
                return project, file
        raise MissingError(filename)

    def _expect(self, name: str, served: Sequence[PublicFile]) -> None:
        """Begin to fetch the METADATA that a resolver asks for next when it has read the page."""
        releases: dict[Version, list[PublicFile]] = {}
        for file in served:
            version = _version(version_of(name, file.filename))
            if version and not version.is_prerelease and file.yanked is None:
                releases.setdefault(version, []).append(file)
        # Of a release with a wheel for each platform nobody knows which one it will be.
        wheel = (
            next((file for file in releases[max(releases)] if file.filename.endswith(ANY)), None) if releases else None
        )
        if wheel and wheel.metadata:
            # What goes wrong is told to whoever asks for it.
            with contextlib.suppress(AwayError, RefusedError, OSError):
                os.close(self.file(name, str(wheel.sha256), f"{wheel.filename}{METADATA}")[1])

    def _sorted(self, name: str) -> tuple[Project, tuple[PublicFile, ...], tuple[Hidden, ...]]:
        project = self._projects.project(name)
        return project, *self._policy.sorted(name, project.page, self._indexes[project.source].index)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
