"""``vostro ca``: the consortium's own certificate authority: an offline root, an issuing authority, leaves,
and revocation lists.
"""

from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from node.cli.output import usage
from node.cli.session import session_of
from node.keys.certificates import (
    CRL,
    CRL_DAYS,
    ISSUING_DAYS,
    LEAF_DAYS,
    REASONS,
    ROOT_DAYS,
    Authority,
    Holder,
    Kind,
    Role,
    load_certificates,
    load_crls,
    load_request,
    make_request,
    named_by,
)
from node.keys.files import write_file

app = typer.Typer(no_args_is_help=True, help="Certificates: root, issuing authority, leaves, revocation.")

Directory = Annotated[Path, typer.Argument(help="The authority's directory.")]


@app.command("root")
def root(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The new authority's directory; new or empty.")],
    name: Annotated[str, typer.Option(help="Its common name.")] = "Vostro root",
    days: Annotated[int, typer.Option(help="How long it is good.", min=1)] = ROOT_DAYS,
) -> None:
    """Make a root authority. Its directory belongs on a medium that is taken offline.

    Example: `vostro ca root usb/root --name "Interbank root"`
    """
    session = session_of(ctx)
    passphrase = session.passphrase_bytes(f"Passphrase for the key of {directory}", confirm=True)
    made = Authority.create_root(directory, name, passphrase, days=days)
    session.output.record("Root authority", told(made.certificate) | {"directory": str(directory)})


@app.command("issuing")
def issuing(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The new authority's directory; new or empty.")],
    root_directory: Annotated[Path, typer.Option("--root", help="The root's directory.")],
    name: Annotated[str, typer.Option(help="Its common name.")] = "Vostro issuing",
    days: Annotated[int, typer.Option(help="How long it is good.", min=1)] = ISSUING_DAYS,
) -> None:
    """Make an issuing authority, signed by the root. Afterwards the root can go offline again.

    `bundle.pem` in the new directory is what nodes and clients trust (tls_ca). Both key files take the
    same passphrase.

    Example: `vostro ca issuing issuing --root usb/root --name "Interbank issuing 1"`
    """
    session = session_of(ctx)
    passphrase = session.passphrase_bytes(f"Passphrase for the keys of {root_directory} and {directory}")
    above = Authority.open(root_directory, passphrase)
    made = above.create_issuing(directory, name, passphrase, days=days)
    session.output.record("Issuing authority", told(made.certificate) | {"directory": str(directory)})


@app.command("request")
def request(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The common name, for example payments.ab.example.")],
    key: Annotated[Path, typer.Option("--private-key", help="The new key's file; it stays here.")],
    out: Annotated[Path, typer.Option(help="The new request's file, for the authority.")],
) -> None:
    """Make a TLS key on the machine that will use it, and the request for its certificate.

    Example: `vostro ca request node.ab.example --private-key tls/node.key --out tls/node.csr`
    """
    make_request(key, out, name)
    session_of(ctx).output.record("Request", {"name": name, "key": str(key), "request": str(out)})


@app.command("issue")
def issue(
    ctx: typer.Context,
    directory: Directory,
    request_file: Annotated[Path, typer.Argument(help="The request.")],
    out: Annotated[Path, typer.Argument(help="The new certificate's file.")],
    kind: Annotated[Kind, typer.Option(help="Whom it is for.")],
    name: Annotated[str, typer.Option(help="Common name; default: the request's.")] = "",
    host: Annotated[
        list[str] | None, typer.Option(help="Of a server: a DNS name or address; repeat it.")
    ] = None,
    certified_member: Annotated[
        str, typer.Option("--for-member", help="Of a person or an application: its member.")
    ] = "",
    role: Annotated[list[Role] | None, typer.Option(help="A role at the door; repeat it.")] = None,
    days: Annotated[int, typer.Option(help="How long it is good.", min=1)] = LEAF_DAYS,
) -> None:
    """Issue a certificate for a request. Compare the request with its holder by another way first.

    Examples:
        vostro ca issue issuing node.csr node.pem --kind server --host node.ab.example

        vostro ca issue issuing pay.csr pay.pem --kind application --for-member AB --role submitter
    """
    session = session_of(ctx)
    asked = load_request(request_file)
    holder = Holder(kind, name or _common_name(asked), host or (), certified_member, role or ())
    passphrase = session.passphrase_bytes(f"Passphrase for the key of {directory}")
    write_file(out, Authority.open(directory, passphrase).issue(asked, holder, days=days))
    session.output.record("Certificate", told(load_certificates(out)[0]) | {"file": str(out)})


@app.command("revoke")
def revoke(
    ctx: typer.Context,
    directory: Directory,
    certificate: Annotated[Path, typer.Argument(help="The certificate to revoke.")],
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(REASONS)}.")] = "cessationOfOperation",
) -> None:
    """Revoke a certificate that this authority issued, and write its revocation list.

    Nodes act on the new list once it lies where their configuration says (tls_crl).

    Example: `vostro ca revoke issuing pay.pem --reason keyCompromise`
    """
    session = session_of(ctx)
    passphrase = session.passphrase_bytes(f"Passphrase for the key of {directory}")
    Authority.open(directory, passphrase).revoke(load_certificates(certificate)[0], reason)
    _show_crl(ctx, directory)


@app.command("crl")
def crl(
    ctx: typer.Context,
    directory: Directory,
    days: Annotated[int, typer.Option(help="How long the list is good.", min=1)] = CRL_DAYS,
) -> None:
    """Write an authority's revocation list again before it ends.

    Example: `vostro ca crl issuing`
    """
    session = session_of(ctx)
    passphrase = session.passphrase_bytes(f"Passphrase for the key of {directory}")
    Authority.open(directory, passphrase).renew_crl(days=days)
    _show_crl(ctx, directory)


@app.command("show")
def show(ctx: typer.Context, path: Annotated[Path, typer.Argument(help="A certificate's file.")]) -> None:
    """Show what a certificate says: its member and roles, its use, how long it is good."""
    session_of(ctx).output.record("Certificate", told(load_certificates(path)[0]))


def told(certificate: x509.Certificate) -> dict[str, object]:
    """A certificate's fields under their stable names."""
    named = named_by(certificate)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "member": named.member if named else "",
        "roles": sorted(role.value for role in named.roles) if named else [],
        "from": certificate.not_valid_before_utc.isoformat(),
        "until": certificate.not_valid_after_utc.isoformat(),
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _show_crl(ctx: typer.Context, directory: Path) -> None:
    (found,) = load_crls(directory / CRL)
    until = found.next_update_utc
    session_of(ctx).output.record(
        "Revocation list",
        {
            "file": str(directory / CRL),
            "revoked": len(list(found)),
            "until": until.isoformat() if until else "",
        },
    )


def _common_name(request_: x509.CertificateSigningRequest) -> str:
    found = request_.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if not found:
        raise usage("the request has no common name: give one with --name")
    return str(found[0].value)
