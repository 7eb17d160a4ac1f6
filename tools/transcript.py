"""Run the commands of docs/transcript.md on a terminal of 80 columns and write their output there.

    python tools/transcript.py

Every block that begins with ``$ cign`` is replaced by its commands and what the last of them prints
on standard output. The commands run in their order in one temporary folder.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "transcript.md"
COLUMNS = 80


def output_of(command: str, folder: Path) -> str:
    """What a command prints on a terminal, without the codes for bold type."""
    import fcntl
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    words = [
        word
        for part in shlex.split(command)[1:]
        for word in (_matching(part, folder) if "*" in part else [part])
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "cign", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": str(COLUMNS)},
    )
    os.close(follower)
    found = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        found += part
    os.close(leader)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{command}: {errors.decode()}")
    text = re.sub(r"\x1b\[[0-9;]*m", "", found.decode().replace("\r", ""))
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))


def _matching(pattern: str, folder: Path) -> list[str]:
    """Paths below a folder that match a pattern, as a shell gives them."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:

        def renewed(match: re.Match[str]) -> str:
            commands = [line for line in match[1].split("\n") if line.startswith("$ cign")]
            if not commands:
                return match[0]
            outputs = [output_of(command[2:], Path(folder)) for command in commands]
            return "```text\n" + "\n".join([*commands, outputs[-1]]) + "\n```\n"

        page = re.sub(
            r"```text\n(.*?)```\n", renewed, PAGE.read_text(encoding="utf-8"), flags=re.DOTALL
        )
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
