"""Attestations of the form of PEP 740, whose signatures are made up."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any


def statement(filename: str, content: bytes) -> dict[str, Any]:
    """What is attested of a file."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": filename, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}],
        "predicateType": "https://docs.pypi.org/attestations/publish/v1",
        "predicate": None,
    }


def attestation(filename: str, content: bytes, **changed: object) -> dict[str, Any]:
    """An attestation of a file, with other values in its statement."""
    encoded = base64.b64encode(json.dumps({**statement(filename, content), **changed}).encode()).decode()
    return {
        "version": 1,
        "verification_material": {
            "certificate": base64.b64encode(b"certificate").decode(),
            "transparency_entries": [{"logIndex": "1"}],
        },
        "envelope": {"statement": encoded, "signature": base64.b64encode(b"signature").decode()},
    }
