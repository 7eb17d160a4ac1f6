"""Errors are one sentence, exit codes are those of the contract, help is quick."""

import errno
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from cign import __version__
from cign.cli import entry_point as cli
from cign.cli.commands import COMMANDS
from cign.cli.entry_point import main
from cign.errors import InputError, RunError

CIGN = [sys.executable, "-m", "cign"]


def sentence(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("cign: ")
    return line


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name}" in out for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cign {__version__}\n"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from cign.cli.entry_point import main; main(['--help']); main(['repot']);"
        "heavy = {'torch', 'numpy', 'av', 'pyarrow', 'transformers', 'rich'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: cign {name} ")
    assert "function" not in out
    assert "null" not in out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["no command given", "train"]),
        (["trian"], ["unknown command 'trian'", "did you mean 'train'"]),
        (["--verbose"], ["unknown option '--verbose'"]),
        (["synth"], ["OUT is missing", "cign synth --help"]),
        (["prepare"], ["SOURCE and STORE are missing"]),
        (["synth", "x", "--clases", "3"], ["unknown option --clases", "did you mean --classes"]),
        (["synth", "x", "--class", "3"], ["unknown option --class"]),
        (["synth", "x", "y"], ["unexpected argument 'y'"]),
        (["synth", "x", "--seed"], ["--seed needs a value"]),
        (["synth", "x", "--seed", "1.5"], ["--seed", "'1.5'", "whole number from 0"]),
        (["synth", "x", "--workers", "0"], ["--workers", "from 1"]),
        (["prepare", "a", "b", "--frames", "65"], ["--frames", "'65'", "from 1 to 64"]),
        (["synth", ""], ["OUT", "empty path"]),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, parts, capsys):
    assert main(arguments) == 2
    line = sentence(capsys)
    for part in parts:
        assert part in line


@pytest.fixture
def failing(monkeypatch):
    """A command that raises what it is given."""

    def install(error):
        def run(options):
            raise error

        command = SimpleNamespace(SUMMARY="s", GO_ON="do it again", add_options=lambda p: None)
        command.run = run
        monkeypatch.setattr(cli, "_find", lambda name: command)

    return install


OUT = "cign: out of memory: use smaller batches or fewer workers"


def caused_by(cause, error):
    """An error as a handler raises it that hides its cause from tracebacks."""
    try:
        try:
            raise cause
        except type(cause):
            raise error from None
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("bad-value", "bad input"), 2, "cign: bad input"),
        (RunError("diverged", "it diverged"), 1, "cign: it diverged"),
        (OSError(errno.ENOSPC, "No space left on device", "f.npy"), 1, "f.npy (No space left"),
        (MemoryError(), 1, "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 1, OUT),
        (ImportError("x.so: failed to map segment from shared object"), 1, OUT),
        (RuntimeError("can't start new thread"), 1, OUT),
        (caused_by(MemoryError(), InputError("damaged", "store is damaged")), 1, OUT),
        (caused_by(KeyError("x"), InputError("damaged", "store is damaged")), 2, "is damaged"),
        (ValueError("odd\nthing"), 1, "internal error: ValueError: odd thing; set CIGN_TRACEBACK"),
    ],
)
def test_exceptions_are_one_sentence(failing, error, code, text, capsys):
    failing(error)
    assert main(["x"]) == code
    assert text in sentence(capsys)


def test_traceback_on_request(failing, monkeypatch, capsys):
    monkeypatch.setenv("CIGN_TRACEBACK", "1")
    failing(InputError("bad-value", "bad input"))
    assert main(["x"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interruption_says_how_to_go_on(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["x"]) == 130
    err = capsys.readouterr().err
    assert err == "\ncign: interrupted; finished work is saved, do it again to resume\n"


def test_exit_code_reaches_the_shell():
    done = subprocess.run([*CIGN, "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("cign: unknown command 'nonsense'")
    assert len(done.stderr.splitlines()) == 1


def test_control_c_keeps_what_was_done(tmp_path):
    out = tmp_path / "clips"
    options = ["--classes", "20", "--train", "40", "--workers", "1"]
    # A shell's background job starts with SIGINT ignored, and so would whatever it starts.
    process = subprocess.Popen(
        [*CIGN, "synth", str(out), *options],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not any(out.rglob("*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted; finished work is saved, run the same command again" in err
    assert b"Traceback" not in err
    assert any(out.rglob("*.mp4"))


def test_reader_that_leaves_early_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*CIGN, "--help"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 0
    assert done.stderr == b""
