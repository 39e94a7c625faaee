"""A Sigstore of one's own: an authority, its logs, and jobs with whatever identity; made up, and all in order."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from attested import statement

if TYPE_CHECKING:
    from collections.abc import Mapping

PAYLOAD = "application/vnd.in-toto+json"
_FULCIO = "1.3.6.1.4.1.57264.1"
_CLAIMS = {"issuer": 8, "signer": 9, "repository": 12, "digest": 13, "ref": 14, "build": 18}
"""Extensions of Fulcio's certificates (its docs/oid-info.md)."""
_OLD_ISSUER = x509.ObjectIdentifier(f"{_FULCIO}.1")
_TIMESTAMPS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_SHA = "0" * 40


Identity: TypeAlias = "tuple[x509.GeneralName, Mapping[str, str]]"
"""The name that a certificate has, and its claims."""


def github(repository: str, workflow: str, ref: str = "refs/heads/main") -> Identity:
    """A job of GitHub: its name, and its claims."""
    url = f"https://github.com/{repository}"
    build = f"{url}/.github/workflows/{workflow}@{ref}"
    issuer = "https://token.actions.githubusercontent.com"
    return _url(build), {"issuer": issuer, "repository": url, "digest": _SHA, "ref": ref, "build": build}


def gitlab(repository: str, path: str, ref: str = "refs/heads/main") -> Identity:
    """A job of gitlab.com."""
    url = f"https://gitlab.com/{repository}"
    build = f"{url}//{path}@{ref}"
    return _url(build), {"issuer": "https://gitlab.com", "repository": url, "digest": _SHA, "ref": ref, "build": build}


def google(email: str) -> Identity:
    """A service account."""
    return x509.RFC822Name(email), {"issuer": "https://accounts.google.com"}


def circleci(
    project: str, pipeline: str, origin: str = "github.com/acme/lib", ref: str = "refs/heads/main"
) -> Identity:
    """A job of CircleCI."""
    signer = f"https://circleci.com/api/v2/projects/{project}/pipeline-definitions/{pipeline}"
    claims = {"issuer": "https://oidc.circleci.com", "signer": signer, "repository": origin, "ref": ref}
    return _url(signer), claims


class Sigstore:
    """An authority that certifies whoever asks, a log of its certificates, and one of what they sign."""

    def __init__(self) -> None:
        self.authority, self.certificates, self.signatures = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.now = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=30)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sigstore of ours")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        own = self.authority.public_key()
        self.root = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(own)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    @property
    def trusted_root(self) -> str:
        """What `trusted_root.json` says of it."""
        start = {"start": (self.now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = {"rawBytes": _text(_der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": start}
            return {
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": public,
                "logId": {"keyId": _text(_id(key))},
            }

        authority = {
            "subject": {"organization": "example", "commonName": "sigstore of ours"},
            "uri": "https://fulcio.example",
            "certChain": {"certificates": [{"rawBytes": _text(self.root.public_bytes(Encoding.DER))}]},
            "validFor": start,
        }
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.signatures)],
                "certificateAuthorities": [authority],
                "ctlogs": [log(self.certificates)],
                "timestampAuthorities": [],
            }
        )

    def attest(
        self,
        filename: str,
        content: bytes,
        identity: Identity,
        *,
        late_seconds: int = 60,
        **changed: object,
    ) -> dict[str, Any]:
        """An attestation of a file by a job, logged so long after the certificate was made; it is good for 600 s."""
        payload = json.dumps({**statement(filename, content), **changed}).encode()
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(key, *identity)
        encoded = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
        signature = _signed(key, encoded)
        return {
            "version": 1,
            "verification_material": {
                "certificate": _text(certificate.public_bytes(Encoding.DER)),
                "transparency_entries": [self._entry(certificate, payload, signature, late_seconds)],
            },
            "envelope": {"statement": _text(payload), "signature": _text(signature)},
        }

    def _certificate(
        self, key: ec.EllipticCurvePrivateKey, name: x509.GeneralName, claims: Mapping[str, str]
    ) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now)
            .not_valid_after(self.now + timedelta(seconds=600))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_OLD_ISSUER, claims["issuer"].encode()), critical=False)
        )
        for claim, value in claims.items():
            oid = x509.ObjectIdentifier(f"{_FULCIO}.{_CLAIMS[claim]}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, _element(0x0C, value.encode())), False)
        before = builder.sign(self.authority, hashes.SHA256())
        timestamp = x509.UnrecognizedExtension(_TIMESTAMPS, _element(0x04, self._timestamp(before)))
        return builder.add_extension(timestamp, critical=False).sign(self.authority, hashes.SHA256())

    def _timestamp(self, certificate: x509.Certificate) -> bytes:
        """The list of one signed timestamp of the log of certificates (RFC 6962)."""
        moment = int(self.now.timestamp() * 1000)
        body = certificate.tbs_certificate_bytes
        entry = hashlib.sha256(_der(self.authority)).digest() + len(body).to_bytes(3, "big") + body
        signature = _signed(self.certificates, struct.pack("!BBQH", 0, 0, moment, 1) + entry + b"\0\0")
        made = struct.pack("!B32sQH", 0, _id(self.certificates), moment, 0) + b"\x04\x03" + _long(signature)
        return _long(_long(made))

    def _entry(
        self, certificate: x509.Certificate, payload: bytes, signature: bytes, late_seconds: int
    ) -> dict[str, Any]:
        """An entry of the log of signatures, the only one that it has."""
        pem = _text(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": _text(signature), "verifier": pem}],
        }
        body = _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        moment, own = int(self.now.timestamp()) + late_seconds, _id(self.signatures)
        promise = {"body": _text(body), "integratedTime": moment, "logID": own.hex(), "logIndex": 0}
        root = hashlib.sha256(b"\0" + body).digest()
        note = f"log.example\n1\n{_text(root)}\n"
        seal = _text(own[:4] + _signed(self.signatures, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": _text(own)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(moment),
            "inclusionPromise": {"signedEntryTimestamp": _text(_signed(self.signatures, _canonical(promise)))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _text(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.example {seal}\n"},
            },
            "canonicalizedBody": _text(body),
        }


def _url(value: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(value)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_der(key)).digest()


def _signed(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(hashes.SHA256()))


def _long(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def _element(tag: int, content: bytes) -> bytes:
    """An element of DER."""
    size = len(content).to_bytes(2, "big").lstrip(b"\0")
    return bytes([tag]) + (size if len(content) < 0x80 else bytes([0x80 + len(size)]) + size) + content


def _canonical(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
