import inspect

import grpc
import pytest

from node import errors
from node.federation.boundary import STATUS, status_of

DELIBERATE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EnlaceError)]


@pytest.mark.parametrize("kind", [kind for kind in DELIBERATE if kind is not errors.EnlaceError])
def test_every_deliberate_error_has_a_status(kind: type[errors.EnlaceError]) -> None:
    assert any(base in STATUS for base in kind.__mro__), f"{kind.__name__} is not mapped"
    assert status_of(kind("why")) not in {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}


@pytest.mark.parametrize("kind", DELIBERATE)
def test_what_is_told_outside_is_fixed(kind: type[errors.EnlaceError]) -> None:
    assert kind("a name, a number, a rule").public == kind.public
    assert kind.public
    assert kind.public == kind.public.strip()


def test_the_nearest_kind_decides() -> None:
    assert status_of(errors.ReplayError("")) is grpc.StatusCode.ALREADY_EXISTS
    assert status_of(errors.EnvelopeError("")) is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unforeseen_kind_is_internal() -> None:
    class NewError(errors.EnlaceError):
        pass

    assert status_of(NewError("")) is grpc.StatusCode.INTERNAL
