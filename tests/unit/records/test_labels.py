from typing import Any

import pytest

from node.errors import RecordError
from node.records.labels import _LABELS, LANGUAGES, Language, label, short_name
from node.wire import codes_pb2

ENUMS = dict(codes_pb2.DESCRIPTOR.enum_types_by_name)
VALUES = [(name, value.number) for name, enum in ENUMS.items() for value in enum.values]
# Words that are the same in English and in the other language.
SAME = {
    "es": {"No"},
    "pt": set[str](),
    "fr": {"Accident", "Corruption", "Homicide", "Incident", "Organisation", "Suspect", "Torture", "Violence"},
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_value_of_every_list_has_a_label_of_its_own(language: Language) -> None:
    labels = _LABELS[language]
    wanted = {
        name: {short_name(enum, value.number) for value in enum.values if value.number} for name, enum in ENUMS.items()
    }
    assert {name: set(values) for name, values in labels.items()} == wanted
    for values in labels.values():
        assert len(set(values.values())) == len(values)
    words = [word for values in labels.values() for word in values.values()]
    assert all(word == word.strip() and word[:1] == word[:1].upper() and word[:1].isalnum() for word in words)


@pytest.mark.parametrize("language", ["es", "pt", "fr"])
def test_nothing_is_left_in_english(language: Language) -> None:
    same = {label(*value, language) for value in VALUES if label(*value, language) == label(*value, "en")}
    assert same == SAME[language]


@pytest.mark.parametrize(
    ("enum", "number", "labels"),
    [
        (
            "Crime",
            codes_pb2.CRIME_TRAFFICKING,
            ("Trafficking in persons", "Trata de personas", "Tráfico de pessoas", "Traite des personnes"),
        ),
        (
            "Crime",
            codes_pb2.CRIME_SMUGGLING,
            (
                "Smuggling of migrants",
                "Tráfico ilícito de migrantes",
                "Contrabando de migrantes",
                "Trafic illicite de migrants",
            ),
        ),
        ("Role", 0, ("Unknown", "No consta", "Não consta", "Non connu")),
        ("Role", 99, ("Unknown", "No consta", "Não consta", "Non connu")),
    ],
)
def test_terms_of_law(enum: str, number: int, labels: tuple[str, ...]) -> None:
    assert tuple(label(enum, number, language) for language in LANGUAGES) == labels


@pytest.mark.parametrize(("enum", "language"), [("Colour", "en"), ("Crime", "de")])
def test_a_list_or_language_that_is_not_there(enum: str, language: Any) -> None:  # noqa: ANN401
    with pytest.raises(RecordError):
        label(enum, 1, language)
