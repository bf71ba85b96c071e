"""Names of persons and organisations, in the form under which they are compared.

Written for the Americas: two given names and two surnames in Spanish, the father's surname last in Portuguese, one
surname in English, accents and particles that come and go between offices.
"""

import re
import unicodedata
from typing import Final

from node.errors import RecordError

LONGEST_NAME: Final = 200  # characters
_MOST_TOKENS: Final = 16
_FEWEST_FOR_SHORTER: Final = 3

# One word a line would fill the page.
_PARTICLES: Final = frozenset(
    [
        "a",
        "al",
        "as",
        "d",
        "da",
        "das",
        "de",
        "del",
        "della",
        "der",
        "di",
        "do",
        "dos",
        "du",
        "e",
        "el",
        "het",
        "i",
        "il",
        "la",
        "las",
        "le",
        "les",
        "lo",
        "los",
        "o",
        "os",
        "t",
        "ten",
        "ter",
        "the",
        "van",
        "vel",
        "von",
        "y",
        "zu",
    ]
)
_LEGAL_FORMS: Final = frozenset(
    [
        "ab",
        "ag",
        "bv",
        "ca",
        "cia",
        "co",
        "company",
        "corp",
        "corporation",
        "cv",
        "eirl",
        "eireli",
        "gmbh",
        "inc",
        "incorporated",
        "limitada",
        "limited",
        "llc",
        "llp",
        "lp",
        "ltd",
        "ltda",
        "me",
        "nv",
        "plc",
        "rl",
        "sa",
        "sab",
        "sac",
        "sapi",
        "sarl",
        "sas",
        "sc",
        "sca",
        "scs",
        "spa",
        "spr",
        "srl",
    ]
)
_APOSTROPHES: Final = re.compile("['\u2018\u2019\u02bc`\u00b4.]")
_WORD: Final = re.compile(r"[^\W_]+")


def fold(text: str) -> str:
    """Text without case, accents and compatibility variants (Unicode NFKD and full case folding, until stable)."""
    while True:
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        folded = "".join(each for each in decomposed if not unicodedata.combining(each))
        if folded == text:
            return folded
        text = folded


def person_forms(name: str) -> tuple[str, ...]:
    """Forms of a person's name: first the full one, then the shorter ones that it may be known by.

    The full form has all tokens sorted, without particles, so that the order of surnames does not matter. Shorter forms
    keep the first given name with either or both of the last two tokens, or leave out the last. "Juan Carlos Perez
    Lopez" may be known as Juan Perez (Spanish), Juan Lopez (Portuguese), Juan Perez Lopez or Juan Carlos Perez.

    Args:
        name: In the order its bearer uses; "Surnames, Given names" is understood.

    Raises:
        RecordError: there is no letter in it, or it is too long.
    """
    surnames, comma, given = name.partition(",")
    tokens = _tokens(f"{given} {surnames}" if comma else name, _PARTICLES, "name")
    full = _joined(tokens)
    if len(tokens) < _FEWEST_FOR_SHORTER:
        return (full,)
    first, before_last, last = tokens[0], tokens[-2], tokens[-1]
    shorter = (tokens[:-1], [first, before_last], [first, last], [first, before_last, last])
    return tuple(dict.fromkeys([full, *map(_joined, shorter)]))


def organisation_form(name: str) -> str:
    """Form of an organisation's name: its words in order, without particles and legal forms.

    Raises:
        RecordError: there is no letter or digit in it, or it is too long.
    """
    return " ".join(_tokens(name, _PARTICLES | _LEGAL_FORMS, "organisation name"))


def _joined(tokens: list[str]) -> str:
    return " ".join(sorted(tokens))


def _tokens(name: str, dropped: frozenset[str], field: str) -> list[str]:
    if len(name) > LONGEST_NAME:
        raise RecordError(f"{field}: longer than {LONGEST_NAME} characters")
    tokens = _WORD.findall(_APOSTROPHES.sub("", fold(name)))
    if not tokens:
        raise RecordError(f"{field}: has no letter")
    # A name made of particles alone is a name all the same.
    kept = [token for token in tokens if token not in dropped] or tokens
    if len(kept) > _MOST_TOKENS:
        raise RecordError(f"{field}: has more than {_MOST_TOKENS} words")
    return kept
