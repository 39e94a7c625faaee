"""Verifies attestations by pypi-attestations and sigstore, without the network: a question a line, an answer a line.

A process of its own, so that one that hangs or dies is replaced: `python -m server.attesting.verifying`.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import TypeAdapter
from pypi_attestations import Attestation, Publisher
from sigstore.errors import VerificationError
from sigstore.models import ClientTrustConfig, TrustedRoot
from sigstore.verify import Verifier

from server.attesting.worker import READY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAYLOAD = "application/vnd.in-toto+json"
_BUILD = "1.3.6.1.4.1.57264.1.18", "1.3.6.1.4.1.57264.1.9"
"""Claims of a certificate (Fulcio) that say of which job it is."""
_ISSUER = "1.3.6.1.4.1.57264.1.8"


class RefusedError(ValueError):
    """An attestation does not verify; the text says why."""


def verifier(trust_root: str | None) -> Verifier:
    """What verifies by a trust root of this file, or by that of Sigstore's public service which the library brings."""
    root = TrustedRoot.from_file(trust_root) if trust_root else ClientTrustConfig.production(offline=True).trusted_root
    return Verifier(trusted_root=root)


def signers(by: Verifier, attestations: Sequence[Any], publishers: Sequence[Mapping[str, Any]]) -> list[int]:
    """Of which publisher each attestation is, by their places in the list.

    Whether it is about the right file is the server's to say.

    Raises:
        RefusedError: One does not verify, or is of another publisher.
    """
    # There is no public name for what `Attestation.verify` makes of a publisher; that knows no other trust root.
    policies = [TypeAdapter(Publisher).validate_python(each)._as_policy() for each in publishers]  # noqa: SLF001
    return [_signer(by, each, policies, number) for number, each in enumerate(attestations, 1)]


def _signer(by: Verifier, said: object, policies: Sequence[Any], number: int) -> int:
    """The place of the policy that an attestation satisfies."""
    try:
        attestation = Attestation.model_validate_json(json.dumps(said))
        chosen = _FirstOf(policies)
        _require(
            # The library looks at the first alone, and all would be served.
            len(attestation.verification_material.transparency_entries) == 1,
            "it has more than one entry of a transparency log",
        )
        kind, payload = by.verify_dsse(attestation.to_bundle(), chosen)
        _require(kind == PAYLOAD and payload == attestation.envelope.statement, "it is signed for something else")
        return chosen.place()
    # Whatever the reason may be: what does not verify is refused.
    except Exception as error:
        raise RefusedError(f"Attestation {number} does not verify: {_said(error)}") from error


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RefusedError(otherwise)


class _FirstOf:
    """A policy of sigstore: the certificate must be of one of several publishers, of which it notes the first."""

    def __init__(self, policies: Sequence[Any]) -> None:
        self._policies = policies
        self._place: int | None = None

    def place(self) -> int:
        """The place of the publisher.

        Raises:
            RefusedError: Nobody has asked for it.
        """
        if self._place is None:
            raise RefusedError("nobody has looked whose it is")
        return self._place

    def verify(self, cert: x509.Certificate) -> None:
        """See sigstore's VerificationPolicy."""
        for place, policy in enumerate(self._policies):
            try:
                policy.verify(cert)
            # A certificate that lacks what a policy looks for is of somebody else.
            except Exception:  # noqa: BLE001, S112
                continue
            self._place = place
            return
        raise VerificationError(f"it is of {_named(cert)}, who is no publisher of this project")


def _named(cert: x509.Certificate) -> str:
    """Whom a certificate names, in words."""
    material = {"certificate": base64.b64encode(cert.public_bytes(Encoding.DER)).decode(), "transparency_entries": [{}]}
    envelope = {"statement": "", "signature": ""}
    claims = Attestation.model_validate(
        {"version": 1, "verification_material": material, "envelope": envelope}
    ).certificate_claims
    if build := next((claims[each] for each in _BUILD if each in claims), None):
        return build
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    called = ", ".join(str(each.value) for each in names)
    return f"{called} by {claims.get(_ISSUER, 'an issuer that it does not name')}"


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.removeprefix("Verification failed: ")


def _answer(by: Verifier, line: bytes) -> Mapping[str, Any]:
    try:
        question = json.loads(line)
        return {"publishers": signers(by, question["attestations"], question["publishers"])}
    except Exception as error:  # noqa: BLE001 - whatever the question was
        return {"refused": _said(error)}


def main() -> None:
    """Answer until there are no more questions."""
    by = verifier(os.environ.get("ATTESTATIONS_TRUST_ROOT"))
    output = sys.stdout.buffer
    output.write(READY)
    output.flush()
    for line in sys.stdin.buffer:
        output.write(json.dumps(_answer(by, line)).encode() + b"\n")
        output.flush()


if __name__ == "__main__":
    main()
