"""What the states of the Americas are called, and what they speak: for who writes a country as people do."""

from typing import Final, NamedTuple


class Country(NamedTuple):
    """A state.

    Attributes:
        code: ISO 3166-1 alpha-2.
        long_code: ISO 3166-1 alpha-3.
        languages: Official ones, of those that a title can be written in (ISO 639-1).
        names: In small letters without accents, in English, Spanish, Portuguese and French where they differ.
    """

    code: str
    long_code: str
    languages: tuple[str, ...]
    names: tuple[str, ...]


_ROWS: Final = """
AG ATG en antigua and barbuda, antigua y barbuda
AR ARG es argentina, argentine
BB BRB en barbados, barbade
BO BOL es bolivia, bolivie
BR BRA pt brazil, brasil, bresil
BS BHS en bahamas
BZ BLZ en belize, belice
CA CAN en+fr canada
CL CHL es chile, chili
CO COL es colombia, colombie
CR CRI es costa rica
CU CUB es cuba
DM DMA en dominica, dominique
DO DOM es dominican republic, republica dominicana, republique dominicaine
EC ECU es ecuador, equador, equateur
GD GRD en grenada, granada, grenade
GT GTM es guatemala
GY GUY en guyana
HN HND es honduras
HT HTI fr haiti
JM JAM en jamaica, jamaique
KN KNA en saint kitts and nevis, san cristobal y nieves
LC LCA en saint lucia, santa lucia, sainte-lucie
MX MEX es mexico, mexique
NI NIC es nicaragua
PA PAN es panama
PE PER es peru, perou
PY PRY es paraguay, paraguai
SR SUR - suriname, surinam
SV SLV es el salvador, salvador
TT TTO en trinidad and tobago, trinidad y tobago, trinite-et-tobago
US USA en united states, estados unidos, etats-unis, usa, eeuu
UY URY es uruguay, uruguai
VC VCT en saint vincent and the grenadines, san vicente y las granadinas
VE VEN es venezuela
"""


def _row(line: str) -> Country:
    code, long_code, languages, names = line.split(maxsplit=3)
    spoken = tuple(languages.split("+")) if languages != "-" else ()
    return Country(code, long_code, spoken, tuple(names.split(", ")))


AMERICAS: Final = {row.code: row for row in map(_row, _ROWS.strip().splitlines())}
"""The 35 independent states by their code of two letters."""

_BY_WORD: Final = {word.casefold(): row.code for row in AMERICAS.values() for word in (row.long_code, *row.names)}
_ACCENTS: Final = str.maketrans("áàâãéèêíîóôõúüûç", "aaaaeeeiiooouuuc")


def code_of(word: str) -> str | None:
    """The code of two letters that somebody meant who wrote a name or three letters; None where it is not known."""
    return _BY_WORD.get(word.casefold().translate(_ACCENTS))
