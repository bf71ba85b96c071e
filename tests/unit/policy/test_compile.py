import msgspec
from hypothesis import given, settings

from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from tests.unit.policy.books import PLACE, rulebooks, text_of


def placeless(book: Rulebook) -> Rulebook:
    """What a rulebook says, but for where it stands."""
    replace = msgspec.structs.replace
    return replace(
        book,
        sha256=b"",
        rules=tuple(replace(each, place=PLACE) for each in book.rules),
        red_lines=tuple(replace(each, place=PLACE) for each in book.red_lines),
    )


@settings(max_examples=25, deadline=None)
@given(rulebooks(), rulebooks("floor"))
def test_generated_rulebooks_are_of_the_language(release: Rulebook, floor: Rulebook) -> None:
    for book in (release, floor):
        assert placeless(parse_rulebook(text_of(book), demonstration=True)) == placeless(book)
