"""What the commands that listen at a port share: options, required packages, the address."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from cign.cli.arguments import CommandParser, num_bytes, whole
from cign.errors import InputError
from cign.utils.terminal import say


def add_address(parser: CommandParser, port: int, *, access: str = "") -> None:
    """Declare ``--host`` and ``--port``.

    Args:
        parser: Receives them.
        port: Default port.
        access: Who may send requests, for the help of ``--host``.
    """
    host_help = "address to listen on (default: 127.0.0.1, reachable from this machine only)"
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help=f"{host_help}; {access}" if access else host_help,
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=whole(0, 65535),
        default=port,
        help=f"port to listen on; 0 chooses a free port (default: {port})",
    )


def add_max_upload(parser: CommandParser, what: str) -> None:
    """Declare ``--max-upload``, the largest accepted request or file, as ``what`` says."""
    parser.add_argument(
        "--max-upload",
        metavar="SIZE",
        type=num_bytes,
        default=200 * 2**20,
        help=f"largest accepted {what}, for example 500kB, 200MB or 1GB (default: 200MB)",
    )


def require_packages(names: Sequence[str], what: str, remedy: str) -> None:
    """Check that packages are installed.

    Args:
        names: The modules.
        what: What needs them.
        remedy: What installs all of them.

    Raises:
        InputError: If one is missing.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            "missing-package",
            f"{what} needs {', '.join(missing)}: {remedy} installs all",
        )


def announce(address: str, hint: str = "Ctrl-C stops it") -> None:
    """Print the address of a server that is about to accept requests."""
    say(f"{address}  ({hint})")
    sys.stdout.flush()  # the reader of a pipe waits for the address
