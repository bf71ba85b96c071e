"""The composition root's part for persons' requests about their own data."""

from collections.abc import Callable

from node.desk.erasing import Erasing
from node.desk.masking import Reading
from node.desk.notices import Notices
from node.desk.officers import Officers
from node.desk.petitions import Petitions
from node.desk.subjects import Subjects
from node.desk.subjects_servicer import SubjectsServicer
from node.federation.freezing import Freezing


def composed_subjects(officers: Officers, freezing: Freezing, clock: Callable[[], int]) -> SubjectsServicer:
    """Put together what the desk's server registers."""
    petitions = Petitions(
        freezing.standing,
        Reading(freezing.standing, freezing.writer, clock),
        freezing.database,
        freezing.vault,
        freezing.writer,
        freezing.entries,
        clock,
    )
    notices = Notices(petitions, freezing)
    return SubjectsServicer(officers, petitions, Subjects(petitions), notices, Erasing(petitions, notices))
