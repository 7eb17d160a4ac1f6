"""`get_browser.sh` on made-up machines: a browser is there, apt brings one, nobody has one."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("get_browser.sh")


@pytest.fixture
def machine(tmp_path):
    """Run the script where nothing is but what is given; how it ended, and what was called."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for name in ("sh", "grep", "head", "mktemp", "rm", "cat", "chmod"):
        (folder / name).symlink_to(shutil.which(name))

    def run(**programs):
        for name, text in programs.items():
            path = folder / name.replace("_", "-")
            path.write_text(f'#!/bin/sh\necho "{path.name} $*" >> {calls}\n{text}\n')
            path.chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", SCRIPT],
            env={"PATH": str(folder), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not list(tmp_path.glob("tmp.*"))
        called = calls.read_text().splitlines() if calls.exists() else []
        return done.returncode, done.stdout, done.stderr, called

    return run


def test_a_browser_that_is_there_is_taken(machine):
    assert machine(chromium="", id="echo 0", apt_get="") == (0, "", "", ["chromium --version"])


def test_root_gets_debians_without_being_asked(machine, tmp_path):
    # Its update fails, as with one unreachable source among several.
    browser = tmp_path / "bin" / "chromium"
    apt = f'[ "$1" = install ] || exit 100\nprintf "#!/bin/sh\\n" > {browser}; chmod +x {browser}'
    code, out, err, called = machine(id="echo 0", apt_get=apt, playwright="")
    assert (code, out, err) == (0, "", "")
    asked = [line.split()[:2] for line in called if line.startswith(("apt-get", "playwright"))]
    assert asked == [["apt-get", "update"], ["apt-get", "install"]]
    assert any("-y" in line and "chromium" in line for line in called)


def test_others_get_playwrights(machine):
    code, _, err, called = machine(id="echo 1000", apt_get="", playwright="")
    assert (code, err) == (0, "")
    assert called[-1] == "playwright install chromium"
    assert not any(line.startswith("apt-get") for line in called)


@pytest.mark.parametrize("user", [0, 1000])
def test_where_nothing_can_be_brought_one_sentence_says_so(machine, user):
    refuses = 'echo "E: Unable to locate package chromium" >&2\necho more >&2\nexit 100'
    code, out, err, _ = machine(
        id=f"echo {user}", apt_get=refuses, playwright="echo no way >&2; exit 1"
    )
    assert (code, out) == (1, "")
    (sentence,) = err.splitlines()
    assert "there is no Chromium and none could be brought" in sentence
    assert ("(E: Unable to locate" if user == 0 else "(no way)") in sentence
    assert "apt-get install chromium" in sentence


def test_without_any_tool_too(machine):
    code, _, err, _ = machine(id="echo 1000")
    assert code == 1
    assert err.count("\n") == 1
