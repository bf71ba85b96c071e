"""Where a node lives on disk: the folder that `enlace init` makes.

enlace.toml            configuration
ca/                    the country's authority; in production it stays on a machine that is never connected
tls/                   the node's certificate chain and key
keys/                  signing key, key-encryption key, member root key (offline in production)
officers/NAME/         a certificate and key for each officer, handed over in person
focal/NAME.pem         a focal point's own signing key, likewise
rulebooks/             release and outbound rulebooks of the country
trust/root.bin         the stewards' root, pinned
data/                  database and key store, where these are SQLite
"""

import os
from dataclasses import dataclass
from pathlib import Path

from node.errors import UsageError

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
        """The country's rulebooks."""
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
