"""The authority: what its certificates say, judged by OpenSSL too, and what it refuses to sign."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.keys.certificates import (
    CRL,
    KEY,
    REGISTER,
    Authority,
    CertificateError,
    Holder,
    Kind,
    Role,
    crl_number,
    load_crls,
    load_request,
    make_request,
    named_by,
)
from node.keys.keystore import COST_MIN, KeystoreError, PassphraseRefused
from tests.certificates_kit import Pair, Pki
from tests.processes import PASSPHRASE


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


def usage(certificate: x509.Certificate) -> x509.KeyUsage:
    found = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert found.critical
    return found.value


def constraints(certificate: x509.Certificate) -> x509.BasicConstraints:
    found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert found.critical
    return found.value


def uses(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_the_root_signs_authorities_and_the_issuing_authority_leaves_alone(pki: Pki) -> None:
    root, issuing = pki.root.certificate, pki.issuing.certificate
    assert (constraints(root).ca, constraints(root).path_length) == (True, 1)
    assert (constraints(issuing).ca, constraints(issuing).path_length) == (True, 0)
    for each in (root, issuing):
        assert (usage(each).key_cert_sign, usage(each).crl_sign) == (True, True)
        assert not usage(each).digital_signature
    issuing.verify_directly_issued_by(root)
    assert issuing.not_valid_after_utc <= root.not_valid_after_utc


def test_a_leaf_says_its_member_roles_use_and_ninety_days(pki: Pki) -> None:
    leaf = pki.leaf("PA", Role.SUBMITTER, Role.READER).leaf
    named = named_by(leaf)
    assert named
    assert (named.member, sorted(named.roles)) == ("PA", [Role.READER, Role.SUBMITTER])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "vostro://PA/role/reader",
        "vostro://PA/role/submitter",
    ]
    assert uses(leaf) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (constraints(leaf).ca, usage(leaf).digital_signature) == (False, True)
    assert not usage(leaf).key_cert_sign
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 90
    server = pki.server("node.example", "10.0.0.7").leaf
    assert uses(server) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert named_by(server) is None


def test_openssl_agrees_on_chains_uses_and_revocation(pki: Pki, tmp_path: Path) -> None:
    tool = shutil.which("openssl")
    assert tool, "openssl is the independent oracle"
    counts: Counter[str] = Counter()
    (tmp_path / "root.pem").write_bytes((pki.folder / "root" / "authority.pem").read_bytes())
    (tmp_path / "issuing.pem").write_bytes((pki.folder / "issuing" / "authority.pem").read_bytes())

    def verify(pair: Pair, purpose: str) -> bool:
        (tmp_path / "leaf.pem").write_bytes(pair.certificate)
        (tmp_path / "crls.pem").write_bytes(pki.crls)
        trust = ["-CAfile", "root.pem", "-untrusted", "issuing.pem", "-crl_check_all", "-CRLfile", "crls.pem"]
        command = [tool, "verify", "-x509_strict", "-purpose", purpose, *trust, "leaf.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        counts["accepted" if done.returncode == 0 else "refused"] += 1
        return done.returncode == 0

    client, server = pki.leaf("PA", Role.READER), pki.server()
    assert verify(client, "sslclient")
    assert verify(server, "sslserver")
    assert not verify(client, "sslserver")
    assert not verify(server, "sslclient")
    pki.revoke(client)
    assert not verify(client, "sslclient")
    assert verify(server, "sslserver")
    assert not verify(Pki(tmp_path / "impostor").leaf("PA", Role.READER), "sslclient")
    print(f"OpenSSL as oracle: {counts.total()} chains, {dict(counts)}")


def test_every_list_succeeds_the_one_before_and_keeps_what_it_said(pki: Pki) -> None:
    path = pki.folder / "issuing" / CRL
    assert crl_number(load_crls(path)[0]) == 1
    first, second = pki.leaf("PA", Role.READER), pki.leaf("KB", Role.READER)
    pki.revoke(first)
    pki.revoke(second, "superseded")
    pki.issuing.renew_crl()
    (crl,) = load_crls(path)
    assert crl_number(crl) == 4
    assert {row.serial_number for row in crl} == {first.leaf.serial_number, second.leaf.serial_number}
    assert crl.is_signature_valid(pki.issuing.certificate.public_key())  # type: ignore[arg-type]
    with pytest.raises(CertificateError, match="already"):
        pki.revoke(first)


def test_the_register_has_a_line_for_everything_that_was_signed(pki: Pki) -> None:
    leaf = pki.leaf("PA", Role.CHECKER, name="anna").leaf
    rows = [json.loads(line) for line in (pki.folder / "issuing" / REGISTER).read_text().splitlines()]
    assert [(row["name"], row["member"], row["roles"]) for row in rows] == [("anna", "PA", ["checker"])]
    assert rows[0]["sha256"] == leaf.fingerprint(hashes.SHA256()).hex()
    assert (pki.folder / "root" / REGISTER).read_text().count("\n") == 1


def test_what_an_authority_must_not_sign_it_refuses(pki: Pki, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    other = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    edwards = other.sign(ed25519.Ed25519PrivateKey.generate(), None)
    person = Holder(Kind.PERSON, "anna", (), "PA", (Role.READER,))
    refusals = (
        (pki.root, request, person, 90, "authorities only"),
        (pki.issuing, edwards, person, 90, "elliptic curve"),
        (pki.issuing, request, person, 0, "1 to 398"),
        (pki.issuing, request, person, 399, "1 to 398"),
        (pki.issuing, request, person._replace(member="pa"), 90, "no member id"),
        (pki.issuing, request, person._replace(member="P/A"), 90, "no member id"),
        (pki.issuing, request, person._replace(member=""), 90, "has hosts"),
        (pki.issuing, request, person._replace(roles=()), 90, "has hosts"),
        (pki.issuing, request, person._replace(hosts=("x",)), 90, "has hosts"),
        (pki.issuing, request, Holder(Kind.SERVER, "node"), 90, "has hosts"),
        (pki.issuing, request, Holder(Kind.SERVER, "node", ("x",), "PA", (Role.OPERATOR,)), 90, "has hosts"),
    )
    for authority, asked, holder, days, said in refusals:
        with pytest.raises(CertificateError, match=said):
            authority.issue(asked, holder, days=days)
    with pytest.raises(CertificateError, match="only a root"):
        pki.issuing.create_issuing(tmp_path / "third", "third", PASSPHRASE, cost=COST_MIN)
    with pytest.raises(CertificateError, match="not empty"):
        Authority.create_root(pki.folder / "root", "again", PASSPHRASE, cost=COST_MIN)
    with pytest.raises(CertificateError, match="did not issue"):
        pki.issuing.revoke(Pki(tmp_path / "other").leaf("PA", Role.READER).leaf, "superseded")
    with pytest.raises(CertificateError, match="a reason is"):
        pki.revoke(pki.leaf("PA", Role.READER), "boredom")
    with pytest.raises(PassphraseRefused):
        Authority.open(pki.folder / "issuing", b"wrong")
    print(f"refusals of an authority: {len(refusals) + 5} tried")


def test_a_request_is_made_where_the_key_stays_and_the_key_is_private(tmp_path: Path, pki: Pki) -> None:
    key, asked = tmp_path / "tls" / "app.key", tmp_path / "tls" / "app.csr"
    make_request(key, asked, "app.example")
    assert key.stat().st_mode & 0o777 == 0o600
    made = x509.load_pem_x509_certificates(
        pki.issuing.issue(
            load_request(asked), Holder(Kind.APPLICATION, "app.example", (), "PA", (Role.READER,))
        )
    )
    assert [each.subject.rfc4514_string() for each in made] == [
        "CN=app.example,O=PA",
        "CN=consortium issuing",
    ]
    with pytest.raises(KeystoreError):
        make_request(key, asked, "again")
    assert (pki.folder / "root" / KEY).stat().st_mode & 0o777 == 0o600
