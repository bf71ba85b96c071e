"""The desk client: how a command speaks to the running node, as one officer."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from node.cli.home import Home
from node.config import load_config
from node.errors import ConfigError, EnlaceError, ForbiddenError, UnansweredError, UsageError
from node.wire.desk_pb2_grpc import DeskStub

# Statuses that say the person asked for something that can't be, rather than that something is wrong.
WRONG_USE = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND})


class DeskError(EnlaceError):
    """The node answered a desk call with an error."""


@contextmanager
def desk(home: Home, officer: str) -> Iterator[DeskStub]:
    """Open the desk of a running node as an officer, see `desk_channel`."""
    with desk_channel(home, officer) as channel:
        yield DeskStub(channel)


@contextmanager
def desk_channel(home: Home, officer: str) -> Iterator[grpc.Channel]:
    """Open the desk's port of a running node as an officer whose certificate lies in the home.

    Raises:
        ConfigError: the officer has no certificate there.
        UnansweredError: no node answers.
        ForbiddenError, UsageError, DeskError: the node refused the call.
    """
    config = load_config(home.config)
    folder = home.officer(officer)
    try:
        credentials = grpc.ssl_channel_credentials(
            config.tls.country_roots.read_bytes(),
            (folder / "key.pem").read_bytes(),
            (folder / "certificate.pem").read_bytes(),
        )
    except FileNotFoundError as error:
        raise ConfigError(f"{error.filename} is missing: is {officer} an officer of this node?") from error
    options = [("grpc.ssl_target_name_override", f"{config.name}.{config.country.lower()}.{config.federation}")]
    with grpc.secure_channel(config.listen.desk, credentials, options=options) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise _deliberate(error, config.listen.desk) from None


def _deliberate(error: grpc.RpcError, address: str) -> EnlaceError:
    # Every error of a call is a Call too, which grpc's types don't say.
    code: grpc.StatusCode = error.code()
    details: str = error.details() or code.name
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
        return UnansweredError(f"no node answers at {address}: start it with `enlace serve`")
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return ForbiddenError(details)
    if code in WRONG_USE:
        return UsageError(details)
    return DeskError(details)
