"""A country's authority is made, used and taken back with the commands, on files alone."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from node.cli.pki import app
from node.cli.pki_folder import Folder
from node.errors import CertificateRevokedError, EnlaceError, NotFoundError, UsageError
from node.identity.authority import generate_key, parse_key
from node.identity.certificates import Peer, parse_chain, verify_chain
from node.identity.revocation import RevocationList, parse_crl, verify_not_revoked

SECRET = "drawn-by-lot-0123456789"


@pytest.fixture(autouse=True)
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENLACE_CA_PASSPHRASE", SECRET)


def run(folder: Path, *words: object) -> dict[str, Any]:
    """Run a command and return what it prints as JSON; what it raises is raised."""
    words = (*words, "--dir", folder, "--json")
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    run(tmp_path, "init-ca", "--country", "gt", "--federation", "enlace.example", "--curve", "P-256", "--issuing")
    return tmp_path


def issue(ca: Path, name: str = "gt-1") -> dict[str, Any]:
    return run(ca, "issue-node", name, "--dns", "gt-1.example")


def peer(ca: Path, facts: dict[str, Any]) -> Peer:
    leaf, *between = parse_chain(Path(facts["certificate"]).read_bytes())
    roots = parse_chain((ca / "ca/root.crt").read_bytes())
    return verify_chain(leaf, between, roots, datetime.now(UTC))


def revocations(ca: Path) -> RevocationList:
    return parse_crl((ca / "ca/crl.der").read_bytes(), parse_chain((ca / "ca/bundle.crt").read_bytes()))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_authority_is_made_whole(ca: Path) -> None:
    shown = run(ca, "show")
    assert (shown["country"], shown["trust_domain"]) == ("GT", "spiffe://gt.enlace.example")
    assert len(parse_chain((ca / "ca/bundle.crt").read_bytes())) == 2
    assert (revocations(ca).number, revocations(ca).serials) == (1, frozenset())
    assert [each["identity"].split("/")[0] for each in shown["issued"]] == ["issuing"]


def test_every_private_key_is_its_owners_alone_and_those_of_authorities_are_encrypted(ca: Path) -> None:
    issue(ca)
    run(ca, "issue-desk", "a7")
    keys = sorted(path for path in ca.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes())
    assert [str(path.relative_to(ca)) for path in keys] == [
        "ca/issuing.key",
        "ca/root.key",
        "issued/desk/a7/key.pem",
        "issued/node/gt-1/key.pem",
    ]
    assert {mode(path) for path in keys} == {0o600}
    assert [b"ENCRYPTED" in path.read_bytes() for path in keys] == [True, True, False, False]
    assert mode(ca / "ca") == 0o700


def test_nodes_and_desks_are_issued_what_peers_accept(ca: Path) -> None:
    node, desk = issue(ca), run(ca, "issue-desk", "a7", "--days", 7)
    assert (peer(ca, node).kind, peer(ca, node).name) == ("node", "gt-1")
    assert (peer(ca, desk).kind, peer(ca, desk).name) == ("desk", "a7")
    for facts in (node, desk):
        key = parse_key(Path(facts["key"]).read_bytes(), None)
        assert key.public_key() == parse_chain(Path(facts["certificate"]).read_bytes())[0].public_key()


def test_a_key_can_stay_where_it_was_made(ca: Path, tmp_path: Path) -> None:
    key = generate_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    (tmp_path / "csr").write_bytes(request.public_bytes(Encoding.PEM))
    facts = run(ca, "issue-node", "gt-2", "--dns", "x.example", "--csr", tmp_path / "csr", "--out", tmp_path / "handed")
    assert facts["key"] is None
    assert [path.name for path in (tmp_path / "handed").iterdir()] == ["certificate.pem"]
    assert parse_chain((tmp_path / "handed/certificate.pem").read_bytes())[0].public_key() == key.public_key()


def test_a_renewed_certificate_has_a_new_key_and_the_old_one_still_counts(ca: Path) -> None:
    first = issue(ca)
    old = Path(first["key"]).read_bytes()
    second = run(ca, "renew", "node/gt-1")
    assert (second["serial"], second["dns_names"]) != (first["serial"], [])
    assert Path(second["key"]).read_bytes() != old
    assert [each["state"] for each in run(ca, "show")["issued"]] == ["valid"] * 3
    verify_not_revoked(peer(ca, second), revocations(ca).serials)


def test_revoking_a_holder_takes_back_all_it_holds(ca: Path) -> None:
    first, second = issue(ca), run(ca, "renew", "node/gt-1")
    taken = run(ca, "revoke", "node/gt-1")
    assert taken["revoked"] == [first["serial"], second["serial"]]
    assert revocations(ca).serials == {int(each, 16) for each in taken["revoked"]}
    with pytest.raises(CertificateRevokedError):
        verify_not_revoked(peer(ca, second), revocations(ca).serials)
    verify_not_revoked(peer(ca, issue(ca)), revocations(ca).serials)


def test_one_certificate_can_be_revoked_by_its_number(ca: Path) -> None:
    first, second = issue(ca), run(ca, "renew", "node/gt-1")
    assert run(ca, "revoke", "0" + first["serial"].upper())["revoked"] == [first["serial"]]
    verify_not_revoked(peer(ca, second), revocations(ca).serials)


def test_the_number_of_lists_only_rises_and_the_lists_only_grow(ca: Path) -> None:
    seen = [revocations(ca)]
    for name in ("gt-1", "gt-2"):
        issue(ca, name)
        run(ca, "revoke", f"node/{name}")
        seen.append(revocations(ca))
        run(ca, "crl", "--days", 7)
        seen.append(revocations(ca))
    assert [each.number for each in seen] == [1, 2, 3, 4, 5]
    assert [len(each.serials) for each in seen] == [0, 1, 1, 2, 2]


def test_a_lost_list_does_not_bring_its_number_back(ca: Path) -> None:
    (ca / "ca/crl.der").unlink()
    assert run(ca, "crl")["crl_number"] == 2


def test_without_the_roots_key_issuing_goes_on(ca: Path) -> None:
    (ca / "ca/root.key").unlink()
    issue(ca)
    assert run(ca, "revoke", "node/gt-1")["crl_number"] == 2
    with pytest.raises(UsageError, match=r"root\.key is not here"):
        run(ca, "new-issuing")


def test_an_issuing_authority_is_taken_back_by_the_root_with_all_it_issued(ca: Path) -> None:
    node = issue(ca)
    issuing = run(ca, "show")["issued"][0]
    taken = run(ca, "revoke", issuing["identity"])
    assert taken["revoked"] == [issuing["serial"], node["serial"]]
    assert parse_chain((ca / "ca/bundle.crt").read_bytes()) == parse_chain((ca / "ca/root.crt").read_bytes())
    with pytest.raises(CertificateRevokedError):
        verify_not_revoked(peer(ca, node), revocations(ca).serials)
    run(ca, "new-issuing", "--curve", "P-256")
    again = peer(ca, issue(ca))
    verify_not_revoked(again, revocations(ca).serials)
    assert len(again.issuer_serials) == 2


def test_the_next_issuing_authority_leaves_what_the_last_one_issued_in_force(ca: Path) -> None:
    node = issue(ca)
    run(ca, "new-issuing", "--curve", "P-256")
    assert len(parse_chain((ca / "ca/bundle.crt").read_bytes())) == 3
    run(ca, "crl")
    verify_not_revoked(peer(ca, node), revocations(ca).serials)


def test_a_key_encrypted_anew_by_openssl_with_scrypt_is_read(ca: Path) -> None:
    command = ["openssl", "pkcs8", "-topk8", "-scrypt", "-in", "issuing.key", "-out", "stronger.key"]
    secrets = ["-passin", f"pass:{SECRET}", "-passout", f"pass:{SECRET}"]
    subprocess.run([*command, *secrets], cwd=ca / "ca", check=True, capture_output=True)
    (ca / "ca/stronger.key").replace(ca / "ca/issuing.key")
    issue(ca)


def test_what_people_read_holds_each_serial_number_whole(ca: Path) -> None:
    serial = issue(ca)["serial"]
    result = CliRunner().invoke(app, ["show", "--dir", str(ca)], standalone_mode=False)
    assert serial[:8] in result.stdout


# --- the ceremony ----------------------------------------------------------------------------------------------------

CEREMONY = Path(__file__).parents[3] / "certs" / "ceremony.sh"
SHIM = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(CEREMONY.parents[1])!r})
import typer
from node.cli.pki import app
parent = typer.Typer()
parent.add_typer(app, name="pki")
parent()
"""


def ceremony(folder: Path, *words: str, mistyped: bool = False) -> tuple[int, str]:
    """Hold a ceremony, typing back each passphrase that is shown; return its exit status and what was said."""
    (folder / "bin").mkdir()
    (folder / "bin/enlace").write_text(SHIM)
    (folder / "bin/enlace").chmod(0o755)
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    with subprocess.Popen(
        [CEREMONY, *words],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            shown = line.strip()
            if line.startswith("    ") and len(shown) == 20:
                process.stdin.write("something else\n" * mistyped + shown + "\n")
                process.stdin.flush()
    return process.returncode, said


@pytest.mark.parametrize("mistyped", [False, True])
def test_a_ceremony_leaves_the_root_offline_and_the_issuing_authority_ready(tmp_path: Path, *, mistyped: bool) -> None:
    status, said = ceremony(tmp_path, "GT", "enlace.example", "out", "--rehearsal", mistyped=mistyped)
    assert status == 0, said
    assert ("That differs" in said) is mistyped
    first, second, issuing = (line.strip() for line in said.splitlines() if line.startswith("    ") and len(line) == 24)
    offline, online = tmp_path / "out/offline", tmp_path / "out/online"
    assert sorted(path.name for path in offline.iterdir()) == ["root.crt", "root.key"]
    assert not (online / "ca/root.key").exists()
    assert parse_key((offline / "root.key").read_bytes(), (first + second).encode())
    with pytest.raises(UsageError, match="passphrase is wrong"):
        parse_key((offline / "root.key").read_bytes(), issuing.encode())
    for path in (offline / "root.key", online / "ca/issuing.key"):
        assert mode(path) == 0o600
    (tmp_path / "secret").write_text(issuing)
    facts = run(online, "issue-desk", "a7", "--passphrase-file", tmp_path / "secret")
    assert peer(online, facts).name == "a7"
    minutes = (tmp_path / "out/minutes.txt").read_text()
    root = parse_chain((offline / "root.crt").read_bytes())[0]
    assert root.fingerprint(SHA256()).hex(":").upper() in minutes
    assert "REHEARSAL" in minutes
    # No passphrase is left anywhere.
    left = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not any(part.encode() in left for part in (first, second, issuing))


def test_a_ceremony_starts_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    status, said = ceremony(tmp_path, "GT", "enlace.example", "out", "--rehearsal")
    assert (status, "starts with nothing" in said) == (2, True)


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        (["issue-node", "gt-1", "--dns", "x.example"], UsageError, "renew it with `enlace pki renew node/gt-1`"),
        (["issue-node", "GT_2", "--dns", "x.example"], UsageError, "can't stand in a certificate"),
        (["issue-desk", "Juan Pérez"], UsageError, "can't stand in a certificate"),
        (["issue-node", "gt-2", "--dns", "x.example", "--csr", "/none"], UsageError, "No such file"),
        (["renew", "node/gt-9"], NotFoundError, "never issued"),
        (["revoke", "node/gt-9"], NotFoundError, "never issued"),
        (["revoke", "deadbeef"], NotFoundError, "never issued"),
        (["init-ca", "--country", "gt", "--federation", "enlace.example"], UsageError, "already"),
    ],
)
def test_wrong_use_is_told_in_one_line_and_changes_nothing(
    ca: Path, words: list[str], kind: type[EnlaceError], sentence: str
) -> None:
    issue(ca)
    before = {path: path.read_bytes() for path in ca.rglob("*") if path.is_file()}
    with pytest.raises(kind, match=sentence) as error:
        run(ca, *words)
    assert "\n" not in str(error.value)
    assert before == {path: path.read_bytes() for path in ca.rglob("*") if path.is_file()}


def test_what_is_revoked_is_not_revoked_again(ca: Path) -> None:
    issue(ca)
    run(ca, "revoke", "node/gt-1")
    with pytest.raises(UsageError, match="no certificate that still counts"):
        run(ca, "revoke", "node/gt-1")


def test_issuing_authorities_are_not_renewed_like_nodes(ca: Path) -> None:
    with pytest.raises(UsageError, match="new-issuing"):
        run(ca, "renew", run(ca, "show")["issued"][0]["identity"])


@pytest.mark.parametrize("words", [["show"], ["crl"], ["issue-desk", "a7"], ["revoke", "node/gt-1"]])
def test_where_there_is_no_authority_the_way_to_one_is_told(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(UsageError, match="init-ca"):
        run(tmp_path, *words)


@pytest.mark.parametrize(("country", "federation"), [("gtm", "enlace.example"), ("gt", "Enlace"), ("gt", "")])
def test_a_country_or_federation_of_another_form_makes_no_authority(
    tmp_path: Path, country: str, federation: str
) -> None:
    with pytest.raises(UsageError, match="not of the form"):
        run(tmp_path, "init-ca", "--country", country, "--federation", federation)
    assert list(tmp_path.iterdir()) == []


def test_the_passphrase_is_needed_right_and_long(ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENLACE_CA_PASSPHRASE", "another-passphrase-0123")
    with pytest.raises(UsageError, match="passphrase is wrong"):
        issue(ca)
    monkeypatch.delenv("ENLACE_CA_PASSPHRASE")
    with pytest.raises(UsageError, match="--passphrase-file"):
        issue(ca)
    (tmp_path / "secret").write_text(SECRET + "\n")
    run(ca, "crl", "--passphrase-file", tmp_path / "secret")
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(UsageError, match="20 characters"):
        run(
            tmp_path / "new",
            *("init-ca", "--country", "gt", "--federation", "x.example"),
            *("--passphrase-file", tmp_path / "secret"),
        )


def test_a_key_of_another_authority_is_noticed(ca: Path) -> None:
    (ca / "ca/issuing.key").write_bytes((ca / "ca/root.key").read_bytes())
    with pytest.raises(UsageError, match="is not the key of"):
        issue(ca)


def test_a_damaged_index_stops_everything(ca: Path) -> None:
    (ca / "ca/index.json").write_text("{")
    with pytest.raises(UsageError, match="restore it from the backup"):
        issue(ca)


def test_two_commands_do_not_work_at_once(ca: Path) -> None:
    with Folder(ca).locked(), pytest.raises(UsageError, match="another command"):
        run(ca, "crl")
