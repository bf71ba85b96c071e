"""What stands for a layer that is not there, so that the other alone must keep its red lines."""

from node.policy.rules import Layer, Place, Rule, Rulebook
from node.policy.vocabulary import CATEGORY_NUMBERS
from node.wire import codes_pb2


def anything(layer: Layer) -> Rulebook:
    """A rulebook that grants everything: what stands for the layer that is not there, so that the other alone must do.

    It is the most that any rulebook of this layer can say, so what holds beside it holds beside every other.
    """
    rule = Rule(
        id="ANYTHING",
        titles={"en": "whatever the other rulebook says"},
        law="",
        effect="allow",
        emergency=False,
        when=(),
        unless=(),
        data=dict.fromkeys(CATEGORY_NUMBERS.values(), codes_pb2.OUTCOME_RELEASE),
        obligations=frozenset(),
        retention_days=0,
        citations=(),
        place=Place(0, 0),
    )
    return Rulebook(
        name="ANYTHING",
        version=1,
        layer=layer,
        country="",
        valid_from_us=0,
        valid_until_us=1 << 62,
        illustration=False,
        vocabulary="",
        rules=(rule,),
        red_lines=(),
        sha256=b"",
    )
