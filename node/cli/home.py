"""Where a node lives on disk: the folder that `enlace init` makes.

enlace.toml            configuration
member.yaml            what the country says of itself in the directory, to be completed and signed
ca/, issued/           the country's authority, in the layout of `node.cli.pki_folder`: root, bundle, index of what was
                       issued, revocation list; in production it stays on a machine that is never connected
tls/                   the node's certificate chain (certificate.pem) and key (key.pem), and the country's bundle.crt
keys/                  signing-key.pem, key-encryption-key, member-root.pem (offline in production)
officers/NAME/         a certificate and key for each officer, handed over in person
focal/NAME.pem         a focal point's own signing key, likewise; NAME.pem.pub beside it
rulebooks/             release.yaml and outbound.yaml: texts for people to review and to propose; the node reads none
pairings/PEER.bin      a pairing that waits for its second signature; PEER.txt is the rehearsal that signers read
trust/root.bin         the stewards' root, pinned
data/                  enlace.db and keys.db, where database and key store are SQLite
"""

import os
from dataclasses import dataclass
from pathlib import Path

from node.errors import StoreError, UsageError
from node.store.engines import is_sqlite, parse_url, sqlite_path

HOME_VARIABLE = "ENLACE_HOME"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one node."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "enlace.toml"

    @property
    def authority(self) -> Path:
        """The country's certificate authority."""
        return self.path / "ca"

    @property
    def tls(self) -> Path:
        """The node's certificate and key."""
        return self.path / "tls"

    @property
    def keys(self) -> Path:
        """The node's own secrets."""
        return self.path / "keys"

    @property
    def focal(self) -> Path:
        """Focal points' signing keys."""
        return self.path / "focal"

    @property
    def rulebooks(self) -> Path:
        """Texts of rulebooks to propose."""
        return self.path / "rulebooks"

    @property
    def trust(self) -> Path:
        """What is pinned."""
        return self.path / "trust"

    @property
    def data(self) -> Path:
        """Embedded databases."""
        return self.path / "data"

    def officer(self, name: str) -> Path:
        """The folder with an officer's certificate and key."""
        return self.path / "officers" / name


def home_of(option: Path | None) -> Home:
    """Return the node's home: the option, else the environment variable ENLACE_HOME.

    Raises:
        UsageError: neither is given, or there is no node there.
    """
    path = option or (Path(os.environ[HOME_VARIABLE]) if HOME_VARIABLE in os.environ else None)
    if path is None:
        raise UsageError(f"say which node: --home FOLDER, or set {HOME_VARIABLE}")
    home = Home(path.resolve())
    if not home.config.is_file():
        raise UsageError(f"there is no node in {path}: make one with `enlace init --home {path}`")
    return home


def database_at(place: str) -> str:
    """Return the URL of a database that is there: of a SQLite file, or the URL itself.

    Raises:
        UsageError: there is no such file, or the URL is of no database for a node.
    """
    url = place if "://" in place else f"sqlite:///{Path(place).resolve()}"
    try:
        parsed = parse_url(url)
    except StoreError as error:
        raise UsageError(str(error)) from error
    if is_sqlite(parsed) and not sqlite_path(parsed).is_file():
        raise UsageError(f"{sqlite_path(parsed)}: there is no such file")
    return url
