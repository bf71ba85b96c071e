"""What an authority has issued, as people and programs read it."""

from datetime import datetime

from node.cli.pki_folder import Folder, Issued


def issued_facts(issued: Issued, at: datetime) -> dict[str, object]:
    """Return what the index says of a certificate."""
    return {
        "identity": issued.identity,
        "serial": issued.serial,
        "state": issued.state(at),
        "ends": _text(issued.ends),
        "dns_names": list(issued.dns_names),
    }


def list_facts(folder: Folder) -> dict[str, object]:
    """Return where the newest revocation list lies, and its number."""
    return {"crl": str(folder.crl), "crl_number": folder.index().crl_number}


def overview(folder: Folder) -> dict[str, object]:
    """Return what the authority is."""
    index, (root, *issuing) = folder.index(), folder.certificates()
    return {
        "country": index.country,
        "trust_domain": index.domain.uri,
        "authorities": str(folder.bundle),
        "root_ends": _text(root.not_valid_after_utc),
        "issuing_ends": _text(issuing[0].not_valid_after_utc) if issuing else None,
        "keys_here": [str(path) for path in folder.key_files()],
        **list_facts(folder),
    }


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
