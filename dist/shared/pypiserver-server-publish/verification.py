"""Attestations of an upload verified by the program beside the server, whose answer alone lets a file in."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server.access.attestation_rules import called
from server.http.bottle import HTTPError
from server.http.errors import unavailable
from server.index import attestations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.access.attestation_rules import AttestationRules, Publisher

SECONDS = 7.0
"""How long the program may take, to be sent the question and once more to answer it."""
PATIENCE_SECONDS = 2.0
"""How long an upload waits for its turn."""
MOST = 8
"""How many attestations a file may have that are verified; PyPI takes two."""
LARGEST = 64 * 2**10
"""How many bytes of an answer are read."""
LONGEST_REASON = 2000
_log = logging.getLogger("attestations")


class Verification:
    """What makes provenance objects of the attestations that come with files."""

    def __init__(self, rules: AttestationRules, port: int, uploads: int) -> None:
        """Demand what `rules` say, and ask the program at this port of loopback.

        It is asked about half of the `uploads` that come at once: while it hangs, there is room for those of which it
        need not be asked.
        """
        self._rules = rules
        self._port = port
        self._places = threading.BoundedSemaphore(max(1, uploads // 2))

    def provenance(self, text: str, project: str, filename: str, sha256: str) -> bytes | None:
        """The provenance object of a file, None for one without attestations that needs none.

        Args:
            text: What the form says; empty if it says nothing.
            project: The file's project, by its normalised name.
            filename: The file.
            sha256: Its digest.

        Raises:
            HTTPError: An attestation is missing or does not verify (403), or nobody can tell (503).
            RefusedError: One is not of the form of PEP 740, or about another file.
        """
        demand = self._rules.of(project)
        if not text:
            if demand.required:
                raise HTTPError(
                    HTTPStatus.FORBIDDEN,
                    f"{filename} needs an attestation of {_any_of(demand.publishers)}: files of {project} have one",
                )
            return None
        given = attestations.read(text, filename, sha256)
        unverified = attestations.provenance_object([(attestations.UNVERIFIED, given)])
        if not demand.publishers:
            return unverified
        if len(given) > MOST:
            raise HTTPError(HTTPStatus.FORBIDDEN, f"There are {len(given)} attestations; {MOST} are verified at most")
        signers = self._signers(given, demand.publishers)
        found = [
            (each, [one for one, by in zip(given, signers, strict=True) if by == at])
            for at, each in enumerate(demand.publishers)
        ]
        return attestations.provenance_object([(publisher, of) for publisher, of in found if of])

    def _signers(self, given: Sequence[Any], publishers: Sequence[Publisher]) -> list[int]:
        """Of which publisher each attestation is, by their places in the list.

        Raises:
            HTTPError: One is of none, or nobody can tell.
        """
        if not self._places.acquire(timeout=PATIENCE_SECONDS):
            raise unavailable("Too many attestations are being verified; try again")
        try:
            status, said = self._asked({"attestations": given, "publishers": publishers})
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.error("the verifier of attestations does not answer: %s", error or type(error).__name__)
            raise unavailable("Nobody can verify attestations now; try again") from error
        finally:
            self._places.release()
        if status == HTTPStatus.FORBIDDEN:
            raise HTTPError(HTTPStatus.FORBIDDEN, said.decode("utf-8", "replace").strip()[:LONGEST_REASON])
        signers = _list(said) if status == HTTPStatus.OK else None
        if signers is None or len(signers) != len(given) or not all(each in range(len(publishers)) for each in signers):
            _log.error("the verifier of attestations says %d: %r", status, said[:LONGEST_REASON])
            raise unavailable("Nobody can verify attestations now; try again")
        return signers

    def _asked(self, question: object) -> tuple[int, bytes]:
        body = json.dumps(question).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=SECONDS)
        try:
            connection.request("POST", "/verify", body, {"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read(LARGEST)
        finally:
            connection.close()


def _list(said: bytes) -> list[int] | None:
    """The numbers of an answer, None if it is none; true and false are no numbers."""
    try:
        found = json.loads(said)["publishers"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, list) and all(type(each) is int for each in found) else None


def _any_of(publishers: Sequence[Publisher]) -> str:
    return " or ".join(map(called, publishers))
