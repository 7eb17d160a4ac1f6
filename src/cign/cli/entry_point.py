"""The command line. Every error is one sentence; exit codes are 0, 1, 2 and 130.

0: done. 1: a run failed. 2: usage or input. 130: interrupted; finished work is saved.
Set CIGN_TRACEBACK=1 to print the traceback of an error.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import io
import os
import sys
import traceback
from collections import namedtuple
from collections.abc import Sequence
from types import ModuleType

from cign import __version__
from cign.cli.commands import COMMAND_GROUPS, COMMANDS, module_name
from cign.errors import (
    OUT_OF_MEMORY,
    CignError,
    InputError,
    Interrupted,
    is_out_of_memory,
    reason_of,
)
from cign.utils.terminal import note, restore

_DISK_ERRORS = (  # full disk, file too large, no permission to write, I/O error
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
)


_PATH_ERRORS = (  # paths that cannot be resolved
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments after ``cign`` on the command line; default: those of this process.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command: ModuleType | None = None
    for stream in (sys.stdout, sys.stderr):
        # File names may have any encoding. The C locale uses surrogateescape, which fails at é.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            if not arguments:
                raise InputError(
                    "missing-option", f"no command given: use one of {', '.join(COMMANDS)}"
                )
            print(usage())
        elif arguments[0] == "--version":
            print(f"cign {__version__}")
        else:
            command = _find(arguments[0])
            _run(command, arguments[0], arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe. Without a redirection Python reports the error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as interrupt:
        return _interrupted(command, interrupt)
    except Exception as error:
        return _failed(error)
    return 0


def usage() -> str:
    """The text of ``cign --help``. No command is imported for it."""
    width = max(map(len, COMMANDS)) + 2
    lines: list[str] = []
    for purpose, commands in COMMAND_GROUPS.items():
        lines += ["", f"{purpose}:"]
        lines += [f"  {name:{width}}{summary}" for name, summary in commands.items()]
    return "\n".join(
        [
            "usage: cign COMMAND ...",
            "",
            "Audio-visual classification that learns new classes without forgetting old ones.",
            *lines,
            "",
            "`cign COMMAND --help` lists the options of a command, with an example.",
            "`cign --version` prints the version.",
        ]
    )


def _find(name: str) -> ModuleType:
    """The module of a command."""
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}? Use" if near else "use"
        kind = "option" if name.startswith("-") else "command"
        raise InputError(
            "unknown-name", f"unknown {kind} {name!r}: {hint} one of {', '.join(COMMANDS)}"
        )
    return importlib.import_module(module_name(name))


def _run(command: ModuleType, name: str, arguments: Sequence[str]) -> None:
    """Parse the arguments of a command and run it."""
    from cign.cli.arguments import CommandParser

    parser = CommandParser(name, command.SUMMARY, example=getattr(command, "EXAMPLE", ""))
    command.add_options(parser)
    try:
        options = parser.parse_args(list(arguments))
    except SystemExit:  # --help has printed the text and exits
        return
    try:
        command.run(options)
    finally:
        restore()


def _interrupted(command: ModuleType | None, interrupt: KeyboardInterrupt) -> int:
    """Report what is saved and how to resume."""
    how, kept = getattr(command, "GO_ON", None), getattr(command, "KEPT", "finished work is saved")
    if isinstance(interrupt, Interrupted):
        how, kept = interrupt.go_on or how, interrupt.kept
    remedy = f"; {kept}, {how} to resume" if how else ""
    print(f"\ncign: interrupted{remedy}", file=sys.stderr)
    if os.environ.get("CIGN_TRACEBACK"):
        traceback.print_exc()
    # While modules are imported, an interrupt may come in the middle of making a dataclass. Python
    # then marks the process to end by the signal, whatever its exit code. Making a named tuple
    # removes the mark, because it evaluates text as a dataclass does.
    namedtuple("Made", ())
    return 130


def _failed(error: Exception) -> int:
    """Print an error as one sentence and return the exit code."""
    if os.environ.get("CIGN_TRACEBACK"):
        traceback.print_exception(error)
    if is_out_of_memory(error):
        text, code = OUT_OF_MEMORY, 1  # also if a reader took it for a damaged file
    elif isinstance(error, CignError):
        text, code = " ".join(str(error).split()), error.exit_code
    elif isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        where = f" {error.filename}" if error.filename else ""
        text = f"cannot write or read{where} ({error.strerror}): existing files are unchanged"
        code = 1
    elif isinstance(error, OSError) and error.errno in _PATH_ERRORS and error.filename:
        text, code = f"{error.filename}: {error.strerror}; check the path", 2
    else:
        reason = reason_of(error)
        text, code = f"internal error: {reason}; set CIGN_TRACEBACK=1 for the traceback", 1
    note(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
