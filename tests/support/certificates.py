"""A certificate authority for one control plane, and the kubeconfigs of its users."""

import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = datetime.timedelta(days=2)
_NOT_CRITICAL, _CRITICAL = False, True


@dataclass(frozen=True)
class Identity:
    """The files by which somebody proves who they are."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates and writes them into one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test authority")
        certificate = (
            self._unsigned(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), _CRITICAL)
            .add_extension(_signing_only(), _CRITICAL)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, groups: Sequence[str] = (), addresses: Sequence[str] = (), file_name: str = ""
    ) -> Identity:
        """Certificate and key of user `name`; with `addresses` it is good for a server there too."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if addresses else [])]
        builder = self._unsigned(_name(name, groups), key.public_key()).add_extension(
            x509.ExtendedKeyUsage(usages), _NOT_CRITICAL
        )
        if addresses:
            names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), _NOT_CRITICAL)
        identity = self._files(file_name or name.replace(":", "-"))
        signed = builder.sign(self._key, hashes.SHA256())
        identity.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        _write_key(identity.key, key)
        return identity

    def key_pair(self, name: str) -> Identity:
        """A bare key and its public half, for signing service account tokens."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        identity = self._files(name)
        identity.certificate.write_bytes(public)
        _write_key(identity.key, key)
        return identity

    def kubeconfig(self, server: str, identity: Identity) -> Path:
        """A kubeconfig beside the identity's files (JSON, which is YAML)."""
        path = identity.certificate.with_suffix(".kubeconfig")
        cluster = {"server": server, "certificate-authority": str(self.certificate)}
        user = {"client-certificate": str(identity.certificate), "client-key": str(identity.key)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(content, indent=1))
        return path

    def _files(self, name: str) -> Identity:
        return Identity(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    def _unsigned(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        own = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + LIFE)
            # Python 3.13 and newer insist on both identifiers.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), _NOT_CRITICAL)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), _NOT_CRITICAL)
        )


def _name(name: str, groups: Sequence[str] = ()) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
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


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
