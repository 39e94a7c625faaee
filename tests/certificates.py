"""Certificates for tests, and how a kubelet puts them into a volume."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Pair(NamedTuple):
    """A key and the certificate that goes with it, in PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """An authority that issues certificates for localhost."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        signed = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.path = directory / "ca.crt"
        self.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, days: int = 1) -> Pair:
        """A certificate that ends in so many days, or has ended before as many."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        signed = self._signed(x509.Name([]), key.public_key(), names, days)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(text, signed.public_bytes(serialization.Encoding.PEM))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType, days: int = 1
    ) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        day = timedelta(days=1)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - 30 * day).not_valid_after(now + days * day)
        builder = builder.add_extension(extension, critical=True).add_extension(identifier, critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        return builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())


def put(directory: Path, pair: Pair) -> None:
    """Put a certificate where the gateway reads it, as a kubelet does."""
    mount(directory, {"tls.crt": pair.certificate, "tls.key": pair.key})


def mount(directory: Path, secret: Mapping[str, bytes]) -> None:
    """Have a directory show what a Secret has now, as a kubelet does: a new directory behind the same link."""
    version = directory / f"..{len(list(directory.iterdir()))}"
    version.mkdir()
    for name, content in secret.items():
        (version / name).write_bytes(content)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    (directory / "..new").symlink_to(version.name)
    (directory / "..new").rename(directory / "..data")
