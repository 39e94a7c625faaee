"""Attestations of an upload (PEP 740), whose form is checked here, and the provenance objects that are made of them.

A signature is that of an identity at a certificate authority, which a registry with users of its own knows nothing of:
whether it holds is for clients to say, unless publish/verification.py has asked.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from server.http.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FIELD = "attestations"
"""The field of the form: a JSON array."""
LONGEST = 128 * 2**10
"""How many bytes it may have; one attestation has some five thousand."""
UNVERIFIED: Mapping[str, Any] = {"kind": "pypiserver", "claims": None}
"""The publisher of attestations that nobody has verified: readers need not know the registry's users."""
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATES = ("https://docs.pypi.org/attestations/publish/v1", "https://slsa.dev/provenance/v1")


def read(text: str, filename: str, sha256: str) -> list[Any]:
    """The attestations of a file.

    Args:
        text: What the form says.
        filename: The file that they must be about.
        sha256: The digest of that file.

    Raises:
        RefusedError: There is none, or one is not of the form of PEP 740, or about another file.
    """
    attestations = _json(text, "the field")
    if not isinstance(attestations, list) or not attestations:
        raise RefusedError("The attestations are no JSON array, or an empty one")
    for number, each in enumerate(attestations, 1):
        try:
            subject = _subject(each)
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"Attestation {number} is not one of PEP 740: {_said(error)}") from error
        if subject != (filename, sha256):
            raise RefusedError(f"Attestation {number} is about {subject[0]} with the sha256 {subject[1]}")
    return attestations


def provenance_object(bundles: Iterable[tuple[Mapping[str, Any], Sequence[Any]]]) -> bytes:
    """The provenance object of a file, to be served as it is.

    Args:
        bundles: Publishers, and the attestations of each.

    Raises:
        RefusedError: They are no JSON that everybody can read.
    """
    written = [{"publisher": publisher, "attestations": attestations} for publisher, attestations in bundles]
    provenance = {"version": 1, "attestation_bundles": written}
    try:
        return json.dumps(provenance, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise RefusedError("The attestations have a number that is none of JSON, or are nested too deep") from error


def is_about(content: bytes, filename: str, sha256: str) -> bool:
    """Whether a provenance object, as made by `provenance_object`, is about this file."""
    try:
        bundles = json.loads(content)["attestation_bundles"]
        return all(_subject(each) == (filename, sha256) for bundle in bundles for each in bundle["attestations"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _subject(attestation: Any) -> tuple[str, str]:  # noqa: ANN401 - whatever JSON has
    """The name and the sha256 of what an attestation of the right form is about."""
    _require(attestation["version"] == 1, "its version is not 1")
    material, envelope = attestation["verification_material"], attestation["envelope"]
    _require(base64.b64decode(material["certificate"], validate=True), "it has no certificate")
    entries = material["transparency_entries"]
    _require(isinstance(entries, list) and entries, "it has no transparency_entries")
    _require(all(isinstance(entry, dict) for entry in entries), "its transparency_entries are no objects")
    _require(base64.b64decode(envelope["signature"], validate=True), "it has no signature")
    statement = _json(base64.b64decode(envelope["statement"], validate=True), "its statement")
    _require(statement["_type"] == _STATEMENT, f"its statement is no {_STATEMENT}")
    _require(statement["predicateType"] in _PREDICATES, f"its predicateType is none of {', '.join(_PREDICATES)}")
    (subject,) = statement["subject"]
    name, digest = subject["name"], subject["digest"]["sha256"]
    _require(isinstance(name, str) and isinstance(digest, str), "its subject has no name or no sha256")
    return name, digest.lower()


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _json(text: str | bytes, what: str) -> Any:  # noqa: ANN401 - whatever JSON has
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"The attestations cannot be read: {what} is no JSON") from error


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
