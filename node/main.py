"""Entry point of the `enlace` command: composes its sub-commands and turns errors into one line and an exit status.

Exit status: 0 done; 1 a finding (a broken ledger, a denied action, a peer that did not answer); 2 wrong use.
"""

import os
import sys

# TLS 1.3 alone. Python's gRPC has no switch for it, but its list of TLS 1.2 suites can be set to one that needs a
# pre-shared key, which neither side has, so that a TLS 1.2 handshake finds no suite in common. It is read when grpc is
# imported, and is assigned so that no environment can widen it.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"
# gRPC's own log goes to standard error in a format of its own, among lines that are JSON. Who needs it sets this.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import typer
from rich.console import Console
from rich.text import Text

from node import errors
from node.cli.app import app

WRONG_USE = (
    errors.UsageError,
    errors.ConfigError,
    errors.NotFoundError,
    errors.MalformedError,
    errors.RecordError,
    errors.RulebookError,
)


def main() -> None:
    """Run `enlace`."""
    try:
        status = app(standalone_mode=False)
    except errors.EnlaceError as error:
        _say(str(error))
        sys.exit(2 if isinstance(error, WRONG_USE) else 1)
    except typer.Abort:
        sys.exit(130)
    except typer.exceptions.TyperException as error:
        _say(f"{error.format_message()} (`--help` shows how)")
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)


def _say(sentence: str) -> None:
    # An error's text is not markup: a bracket in it must neither vanish nor change the colour.
    line = Text("✗ ", style="red").append(sentence, style="default")
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)
