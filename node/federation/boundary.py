"""The edge of the node: which gRPC status each deliberate error becomes, and the only place that aborts a call.

A peer is told the error's `public` sentence and nothing else. An officer at the desk is told more of what they can mend
themself: which field, which peer, what to do. An error that nobody foresaw is logged here and becomes INTERNAL: silence
is denial.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import grpc
import structlog

from node import errors

STATUS: dict[type[errors.EnlaceError], grpc.StatusCode] = {
    errors.UsageError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    errors.IdentityError: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotPairedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.DirectoryError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.EnvelopeError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SignatureError: grpc.StatusCode.UNAUTHENTICATED,
    errors.MisdirectedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.ClockError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ReplayError: grpc.StatusCode.ALREADY_EXISTS,
    errors.TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.SchemaError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RecordError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SecondOfficerError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WorkflowError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PolicyError: grpc.StatusCode.PERMISSION_DENIED,
    errors.RulebookError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ApprovalError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LedgerError: grpc.StatusCode.UNAVAILABLE,
    errors.FencedError: grpc.StatusCode.UNAVAILABLE,
    errors.StoreError: grpc.StatusCode.UNAVAILABLE,
    errors.KeyErasedError: grpc.StatusCode.NOT_FOUND,
    errors.UnansweredError: grpc.StatusCode.UNAVAILABLE,
    errors.ConfigError: grpc.StatusCode.FAILED_PRECONDITION,
}

log = structlog.get_logger()

Request = TypeVar("Request")
Response = TypeVar("Response")
Kinds: TypeAlias = tuple[type[errors.EnlaceError], ...]
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def status_of(error: errors.EnlaceError) -> grpc.StatusCode:
    """Return the status of the error's nearest kind."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return grpc.StatusCode.INTERNAL


class Boundary(grpc.aio.ServerInterceptor):
    """Maps errors of every handler behind it to a status."""

    def __init__(self, in_full: Kinds = ()) -> None:
        """Take the kinds of errors whose own text the caller may read; a handler is wrapped when it is first called."""
        self._in_full = in_full
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler that serves the call, wrapped."""
        method = handler_call_details.method
        wrapped: Any = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None  # not kept: a caller chooses the method's name, and could fill the memory with names
            wrapped = self._wrapped[method] = _wrap(handler, method, self._in_full)
        return wrapped  # type: ignore[no-any-return]


def guarded(inner: Callable[[Any, Context], Awaitable[Any]], method: str) -> Callable[[Any, Context], Awaitable[Any]]:
    """Wrap one handler, for a server that makes its handlers itself: an interceptor costs every call some 10 µs."""
    return _single(inner, method, ())


def _wrap(handler: Any, method: str, in_full: Kinds) -> Any:  # noqa: ANN401 - grpc's types know only synchronous handlers
    made: Any
    streams = handler.request_streaming
    if handler.response_streaming:
        made = grpc.stream_stream_rpc_method_handler if streams else grpc.unary_stream_rpc_method_handler
        inner = handler.stream_stream or handler.unary_stream
        # The other style writes its responses to the context, and is awaited once.
        yields = inspect.isasyncgenfunction(inner)
        served: Any = _streaming(inner, method, in_full) if yields else _single(inner, method, in_full)
    else:
        made = grpc.stream_unary_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        served = _single(handler.stream_unary or handler.unary_unary, method, in_full)
    return made(served, handler.request_deserializer, handler.response_serializer)


def _single(
    inner: Callable[[Any, Context], Awaitable[Any]], method: str, in_full: Kinds
) -> Callable[[Any, Context], Awaitable[Any]]:
    async def served(request: Any, context: Context) -> Any:  # noqa: ANN401 - whatever the wrapped handler takes
        try:
            return await inner(request, context)
        except Exception as error:  # noqa: BLE001 - grpc would send the text of any other error to the peer
            await _refuse(error, method, context, in_full)

    return served


def _streaming(
    inner: Callable[[Any, Context], AsyncIterator[Any]], method: str, in_full: Kinds
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def served(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        try:
            async for response in inner(request, context):
                yield response
        except Exception as error:  # noqa: BLE001 - grpc would send the text of any other error to the peer
            await _refuse(error, method, context, in_full)

    return served


async def _refuse(error: Exception, method: str, context: Context, in_full: Kinds) -> None:
    if isinstance(error, errors.EnlaceError):
        log.warning("call_refused", method=method, kind=type(error).__name__, reason=str(error))
        await context.abort(status_of(error), str(error) if isinstance(error, in_full) else error.public)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    log.error("call_failed", method=method, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, errors.EnlaceError.public)
