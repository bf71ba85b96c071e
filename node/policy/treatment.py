"""What each outcome means for each field: the table that lawyers, redactor and recipients share."""

from typing import Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from node import schema
from node.policy.evaluate import GENERALISE, MASK, PSEUDONYMISE, REFERENCE, RELEASE, WITHHOLD
from node.policy.vocabulary import Category, Outcome
from node.wire import entry_pb2, options_pb2

ROLES_FIELD: Final = "roles"
"""Field of a record whose values are picked one by one: protected roles never leave."""


def treatment_of(field: FieldDescriptor, level: Outcome) -> Outcome:
    """What a level of its category means for a field; what a field can't do becomes the next stricter that it can.

    - Free text leaves whole or not at all: nobody has reviewed a part of it.
    - Roles leave with the identity they belong to, or not at all.
    - Of REFERENCE, what can be coarser always is: the exact time of a record tells when somebody came to be known.
    - Without a generaliser, generalise is withhold (`options.proto`).
    - A pseudonym needs an identifying text. Of a code or a country, which few values share out, one would be a riddle
      soon solved; such fields are masked. So are photographs, prints, numbers and dates.
    - A mask needs a text to stand for; everything else is withheld.
    """
    generaliser = schema.generaliser_of(field)
    if schema.is_free_text(field) or field.name == ROLES_FIELD:
        return level if level == RELEASE else WITHHOLD
    if level == RELEASE and generaliser and schema.category_of(field) == REFERENCE:
        level = GENERALISE
    if level == GENERALISE and not generaliser:
        level = WITHHOLD
    is_container = field.message_type is not None and not schema.is_value(field.message_type)
    is_text = field.type == FieldDescriptor.TYPE_STRING
    if level == PSEUDONYMISE and not (is_container or (is_text and generaliser != options_pb2.GENERALISER_SAME)):
        level = MASK
    if level == MASK and not (is_container or is_text):
        level = WITHHOLD
    return level


class OutcomeRow(NamedTuple):
    """One line of the published table: what an outcome of its category means for a field."""

    field: str  # "enlace.v1.Person.birth"
    category: Category
    outcome: Outcome
    treatment: Outcome
    generaliser: int  # Generaliser, where the treatment is GENERALISE
    needs_review: bool


def outcome_table() -> list[OutcomeRow]:
    """What each outcome means for each field that may leave, from the descriptors, in the order of the contract."""
    fields = [field for field in schema.COMMON_FIELDS if not schema.is_internal(field)]
    for holder in schema.entity_fields(entry_pb2.Entry.DESCRIPTOR):
        fields += _leaf_fields(schema.message_of(holder))
    rows = []
    for field in fields:
        for level in (RELEASE, GENERALISE, PSEUDONYMISE, MASK, WITHHOLD):
            treatment = treatment_of(field, level)
            generaliser = schema.generaliser_of(field) if treatment == GENERALISE else 0
            review = schema.is_free_text(field) and treatment == RELEASE
            rows.append(OutcomeRow(field.full_name, schema.category_of(field), level, treatment, generaliser, review))
    return rows


def _leaf_fields(message: Descriptor) -> list[FieldDescriptor]:
    found: list[FieldDescriptor] = []
    for field in message.fields:
        if field.message_type is None or schema.is_value(field.message_type):
            found.append(field)
        else:
            found += _leaf_fields(field.message_type)
    return found
