"""The texts that a new node begins with: configuration, what the country says of itself, rulebooks to propose."""

from importlib.resources import files
from string import Template
from typing import Final

from node.policy.rulebook import parse_rulebook

CONFIG: Final = Template(
    """# A node's configuration; deploy/enlace.toml explains every key. Relative paths begin at this file's folder.
country = "$country"
federation = "$federation"
name = "$name"

[listen]
peer = "$peer"
desk = "$desk"
metrics = "$metrics"

[tls]
certificate = "tls/certificate.pem"
key = "tls/key.pem"
country_roots = "tls/bundle.crt"

[store]
database = "$database"
keystore = "$keystore"
key_encryption_key = "keys/key-encryption-key"

[trust]
root = "trust/root.bin"
signing_key = "keys/signing-key.pem"
"""
)

MEMBER: Final = Template(
    """# What this country says of itself in the directory. Complete it, then sign it: `enlace directory member-record`.
country: $country
number: 1 # the next record has a higher one
ca_certificates: [tls/bundle.crt]
nodes:
- name: $name
  endpoint: "$endpoint" # where peers reach the node
  server_name: $server_name
  signing_keys:
  - {public_key: keys/signing-key.pem.pub, valid_from: "$valid_from", valid_until: "$valid_until"}
duty_telephone: "$telephone" # in international form; answered at any hour
protocols: [1]
treaties: [] # ids of the directory's instruments to which the country is party, such as UNTOC
accepted: [] # obligations that it honours as a recipient, such as NO_ONWARD, RETENTION
# Which institution audits the country's ledgers, and for how long by law: see docs/guides/auditor.md.
# audit: {institution: Its name, root_key: institution.pub, period_days: 1825, retention_days: 730}
"""
)

_SILENCE: Final = Template(
    """# No rules of this country are shipped with the project: as long as this stands, $nothing.
rulebook: $country-$name
version: 1
layer: $layer
country: $country
illustration: true
valid_from: "2026-01-01T00:00:00Z"
valid_until: "2031-01-01T00:00:00Z"

citations:
- {law: "None was considered yet", status: unverified}

rules:
- id: $country-0
  title: {en: "Silence is denial"}
  law: None was considered yet
  effect: deny
  when: {paired: ["YES", "NO"]}
"""
)


def starter_rulebook(country: str, layer: str) -> bytes:
    """Return a rulebook for a country to begin with, and to propose; `layer` is "release" or "outbound".

    It is an illustration, to be reviewed by national counsel; where none is shipped, one that denies everything.
    """
    suffix = "" if layer == "release" else f"-{layer}"
    shipped = files("node.policy") / "rulebooks" / f"{country.lower()}{suffix}.yaml"
    if shipped.is_file():
        return shipped.read_bytes()
    nothing = "nothing is released" if layer == "release" else "nobody is asked"
    text = _SILENCE.substitute(country=country, layer=layer, name=layer.upper(), nothing=nothing).encode()
    parse_rulebook(text, demonstration=True)
    return text
