"""Names of countries, nodes and desks, as SPIFFE ids.

A country is a trust domain `spiffe://<iso2>.<federation>`; what it runs has ids below it, `/node/<name>` and
`/desk/<officer>`. The grammar is narrower than SPIFFE's (standards/SPIFFE-ID.md §2): one spelling per name, so that ids
compare as strings.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from node.errors import CertificateInvalidError

Kind = Literal["node", "desk"]

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = rf"spiffe://(?P<country>[a-z]{{2}})\.(?P<federation>{_LABEL}(?:\.{_LABEL})*)"
_TRUST_DOMAIN: Final = re.compile(_DOMAIN)
_SPIFFE_ID: Final = re.compile(rf"{_DOMAIN}/(?P<kind>node|desk)/(?P<name>[a-z0-9-]{{1,64}})")

# SPIFFE-ID.md §2.3: a trust domain has at most 255 bytes.
_MAX_HOST: Final = 255
_SHOWN: Final = 120  # of a name that a stranger chose and an operator reads


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """A country within a federation: ("GT", "enlace.example")."""

    country: str
    federation: str

    @property
    def host(self) -> str:
        """The authority part of its ids: "gt.enlace.example"."""
        return f"{self.country.lower()}.{self.federation}"

    @property
    def uri(self) -> str:
        """The id of its certification authorities: "spiffe://gt.enlace.example"."""
        return f"spiffe://{self.host}"


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A node or a desk of a country, as claimed: nothing about it is verified."""

    country: str
    federation: str
    kind: Kind
    name: str

    @property
    def domain(self) -> TrustDomain:
        """The country it claims to belong to."""
        return TrustDomain(self.country, self.federation)

    @property
    def uri(self) -> str:
        """The id as certificates carry it: "spiffe://gt.enlace.example/node/gt-1"."""
        return f"{self.domain.uri}/{self.kind}/{self.name}"


def parse_trust_domain(uri: str) -> TrustDomain:
    """Return the trust domain that a certification authority's id names.

    Raises:
        CertificateInvalidError: it has another form than `spiffe://<iso2>.<federation>`.
    """
    match = _TRUST_DOMAIN.fullmatch(uri)
    domain = TrustDomain(match["country"].upper(), match["federation"]) if match else None
    if domain is None or len(domain.host) > _MAX_HOST:
        raise CertificateInvalidError(f"{uri[:_SHOWN]!r} is not of the form spiffe://<country>.<federation>")
    return domain


def parse_spiffe_id(uri: str) -> SpiffeId:
    """Return the node or desk that an id names.

    Raises:
        CertificateInvalidError: it has another form than `spiffe://<iso2>.<federation>/<node|desk>/<name>`.
    """
    match = _SPIFFE_ID.fullmatch(uri)
    if match is None or len(TrustDomain(match["country"], match["federation"]).host) > _MAX_HOST:
        raise CertificateInvalidError(
            f"{uri[:_SHOWN]!r} is not of the form spiffe://<country>.<federation>/<node or desk>/<name>"
        )
    return SpiffeId(match["country"].upper(), match["federation"], cast("Kind", match["kind"]), match["name"])
