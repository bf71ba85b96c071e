import inspect
from collections.abc import AsyncIterator

import grpc
import pytest

from node import errors
from node.federation.boundary import STATUS, Boundary, Context, status_of

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


class _Streams:
    """Both styles in which grpc lets a handler answer with a stream."""

    async def yields(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        for part in (request, b"again"):
            yield part
        del context
        if request == b"bad":
            raise errors.NotFoundError("why")

    async def writes(self, request: bytes, context: Context) -> None:
        for part in (request, b"again"):
            await context.write(part)
        if request == b"bad":
            raise errors.NotFoundError("why")


@pytest.mark.parametrize("style", ["yields", "writes"])
async def test_streams_of_both_styles_are_served_and_their_errors_mapped(style: str) -> None:
    server = grpc.aio.server(interceptors=[Boundary()])
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(getattr(_Streams(), style))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"M": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/t.T/M")
            assert [part async for part in method(b"good")] == [b"good", b"again"]
            bad = method(b"bad")
            assert [await bad.read(), await bad.read()] == [b"bad", b"again"]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await bad.read()
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert caught.value.details() == errors.NotFoundError.public
    finally:
        await server.stop(None)
