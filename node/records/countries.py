"""The country where something happened, from the words of its description: offline, and silent rather than wrong."""

import re
from functools import cache
from typing import Final

from phonenumbers.geodata.locale import LOCALE_DATA

from node.records.names import fold
from node.records.validate import COUNTRIES

_LANGUAGES: Final = ("en", "es", "pt", "fr")

# How reports call countries beside their names in CLDR, and first-level divisions that reports name without a country.
# A division that is also a country (Georgia) or a city or division elsewhere (Durango, Santa Ana) is left out.
_OTHER_NAMES: Final = {
    "US": "USA|US|U.S|U.S.A|United States of America|Texas|Arizona|California|New Mexico|Florida|"
    "CA|Pima County|Pima Country|Pima County jurisdiction|San Diego County",
    "MX": "MX|Tamaulipas|Coahuila|Chihuahua|Sonora|Baja California|Chiapas|Oaxaca|"
    "Veracruz|Tabasco|Sinaloa|Nuevo Leon|Tlaxcala|Quintana Roo|Mexico City",
    "CR": "Guanacaste",
    "DO": "DR",
    "VI": "US Virgin Islands|U.S. Virgin Islands",
    "KY": "Grand Cayman",
    "TR": "Turkiye",
    "GM": "The Gambia",
    "CI": "Ivory Coast",
    "CD": "DRC",
    "CZ": "Czech Republic",
    "MK": "Macedonia",
    "KM": "Comores",
    "GB": "UK|U.K.|England|Scotland",
    "MM": "Burma",
}
# Where a part of the description says one of these, what follows is not the country where it happened, or not surely.
_ELSEWHERE: Final = re.compile(
    r"\b(?:between|borders?|en route|route to|way to|trying|attempt\w*|crossing|departure|departed|embark\w*|"
    r"disembark\w*|waters|gulf|straits?|sea|ocean|channel|towards|from|left|before|after|during|respectively|consulate|"
    r"maritime|not clear|nationals?|on \d+)\b"
)
_LEADING: Final = re.compile(
    r"^(?:(?:(?:unspecified|undetermined|undeterminate\w*|various|unknown) )?locations? |off |the |coasts? |of |in |"
    r"on |at |near |northern |southern |eastern |western |southwest |northwest |shores? |bodies |found )*"
)
_ASIDE: Final = re.compile(r"\([^()]*\)")
_BORDER_WITH: Final = re.compile(r",[^,]*\bborder with\b")
_PARTS: Final = re.compile(r"[,;]|\.\s")
_REMARK: Final = re.compile(r"\s+[-\u2013\u2014]\s+")
_SIDE: Final = re.compile(r"\b(mexic|americ|u\.?s\.?a?)\w*\.? (?:side|coast)\b")
_SIDES: Final = {"m": "MX", "a": "US", "u": "US"}
_EDGES: Final = " .'\"()\u2018\u2019\u201c\u201d"


@cache
def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    for country in sorted(COUNTRIES & LOCALE_DATA.keys()):
        for language in _LANGUAGES:
            name = LOCALE_DATA[country].get(language, "")
            if name.startswith("*"):  # the same as in that language
                name = LOCALE_DATA[country].get(name[1:], "")
            if name:
                found.setdefault(fold(name), country)
    for country, names in _OTHER_NAMES.items():
        found.update((fold(name), country) for name in names.split("|"))
    return found


def country_named_in(description: str) -> str:
    """Country of the place that a description ends with, as "Near Camargo, Tamaulipas, Mexico - found by police".

    Parts are read from the last to the first, without what stands in brackets, and at first without what stands behind
    a dash; one that speaks of a border, of the sea or of a journey tells only what it says before that.

    Returns:
        ISO 3166-1 alpha-2, or "" where the words do not tell.
    """
    text = fold(description)
    side = _SIDE.search(text)
    if side:
        return _SIDES[side[1][0]]
    text = _ASIDE.sub(" ", text)
    return _country_of_parts(_REMARK.split(text)[0]) or _country_of_parts(_REMARK.sub(",", text))


def _country_of_parts(text: str) -> str:
    names = _names()
    # "Somewhere, USA, on the border with Manitoba, Canada" ends before the border.
    for part in reversed(_PARTS.split(_BORDER_WITH.split(text)[0])):
        elsewhere = _ELSEWHERE.search(part)
        words = (part[: elsewhere.start()] if elsewhere else part).strip(_EDGES)
        tail = _LEADING.sub("", words).split()
        # The whole part first, then what it ends with ("Chiapas Mexico"), but not of "south of the US border".
        endings = range(1 if elsewhere else len(tail))
        for candidate in (words, *(" ".join(tail[start:]) for start in endings)):
            if candidate in names:
                return names[candidate]
    return ""
