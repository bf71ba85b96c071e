"""`enlace serve`: run the node."""

import uvloop

from node.cli.home import home_of
from node.cli.output import HomeOption
from node.config import load_config
from node.logs import configure_logs


def serve(home: HomeOption = None) -> None:
    """Run the node until SIGTERM or Ctrl-C; calls under way end first."""
    config = load_config(home_of(home).config)
    configure_logs(config.log_level)
    from node.cli.serving import serve as serving  # noqa: PLC0415 -- other commands need not wait for all it imports

    uvloop.run(serving(config))
