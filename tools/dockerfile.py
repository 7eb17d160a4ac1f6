"""Compare the Dockerfile with the README, and execute its steps without a container runtime.

    python tools/dockerfile.py check          # prints what differs; exit code 1 if anything does
    python tools/dockerfile.py build FOLDER [--arg NAME=VALUE]...

`build` executes ARG, ENV, WORKDIR, COPY and RUN in FOLDER, a new folder that stands for the root of
the image; a virtual environment in it stands for the Python of the base image. COPY sees only what
`.dockerignore` lets through. `useradd` is not executed. It prints the seconds of each step.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parent.parent
ENVIRONMENT = "python"  # folder of the virtual environment


@dataclass(frozen=True)
class Step:
    """An instruction of the Dockerfile."""

    name: str
    value: str


@dataclass
class Stage:
    """A stage: its name, the image or stage it is built from, and its steps."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        """The values of an instruction, in order."""
        return [step.value for step in self.steps if step.name == name]

    def pairs(self, name: str) -> dict[str, str]:
        """The names and values that LABEL, ENV or ARG set."""
        words = (word for value in self.values(name) for word in shlex.split(value))
        return dict(word.partition("=")[::2] for word in words)


def stages(root: Path = ROOT) -> dict[str, Stage]:
    """The stages of a Dockerfile by name; a stage begins with the steps of the one it extends."""
    found: dict[str, Stage] = {}
    stage = None
    for part in DockerfileParser(str(root)).structure:
        name, value = part["instruction"].upper(), " ".join(part["value"].split())
        if name == "FROM":
            base, _, label = re.fullmatch(r"(\S+)( AS (\S+))?", value, re.I).groups()
            stage = found[label] = Stage(label, base)
            stage.steps += found[base].steps if base in found else []
        elif name != "COMMENT" and stage is not None:
            stage.steps.append(Step(name, value))
    return found


def final_stage(root: Path = ROOT) -> Stage:
    """The stage that is built by default."""
    return list(stages(root).values())[-1]


def pip_installs(lines: Sequence[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What `pip install` commands install, with the options that change what is installed."""
    for line in lines:
        for command in re.split(r"&&|\|\||;", line):
            words = shlex.split(command, comments=True)
            if words[:2] != ["pip", "install"]:
                continue
            options = frozenset({"--no-deps", "--pre"} & set(words))
            wanted = [word for word in words[2:] if re.match(r"\.|[\w-]+==", word)]
            yield from ((word, options) for word in wanted)


def readme_installs(root: Path = ROOT) -> dict[str, frozenset[str]]:
    """What the README tells users to install."""
    section = (root / "README.md").read_text(encoding="utf-8").split("## Install\n")[1]
    lines = section.split("\n## ")[0].splitlines()
    return dict(pip_installs([line.strip() for line in lines]))


def is_sent(path: str, rules: Sequence[str]) -> bool:
    """Whether `.dockerignore` lets a top-level path through: the last rule that matches decides."""
    sent = True
    for rule in rules:
        if rule.lstrip("!") in ("*", path):
            sent = rule.startswith("!")
    return sent


def rules_of(root: Path) -> list[str]:
    """The rules of `.dockerignore`."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def problems(root: Path = ROOT) -> list[str]:
    """What is wrong with the Dockerfile; empty if nothing is."""
    final = final_stage(root)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    arguments = final.pairs("ARG")
    extras = set(arguments.get("EXTRAS", "").split(","))
    installed = dict(pip_installs(final.values("RUN")))
    found = []
    for wanted, options in readme_installs(root).items():
        if wanted.startswith("."):
            needed = set(re.fullmatch(r"\.\[(.*)\]", wanted).group(1).split(","))
            if not needed <= extras or ".[$EXTRAS]" not in installed:
                found.append(f"README installs {wanted}, the Dockerfile .[{','.join(extras)}]")
        elif installed.get(wanted) != options:
            found.append(f"README installs {' '.join([*options, wanted])}, the Dockerfile does not")
    pinned = (root / "constraints.txt").read_text(encoding="utf-8").split()
    found += [
        f"constraints.txt does not pin {name}"
        for name in installed
        if "==" in name and name not in pinned
    ]
    found += [
        f"pyproject.toml has no extra {name}"
        for name in sorted(extras - set(project["optional-dependencies"]))
    ]
    if final.values("USER")[-1:] in ([], ["root"], ["0"]):
        found.append("the image runs as root")
    if final.pairs("LABEL").get("org.opencontainers.image.version") != project["version"]:
        found.append(f"the label of the version is not {project['version']}")
    rules = rules_of(root)
    for value in final.values("COPY"):
        for source in shlex.split(value)[:-1]:
            if not (root / source).exists() or not is_sent(source, rules):
                found.append(f"COPY {source} finds nothing")
    found += [
        f"{name} sets {key}: secrets do not belong in an image"
        for name in ("ENV", "ARG")
        for key in final.pairs(name)
        if re.search(r"token|secret|passw|key", key, re.I)
    ]
    return found


def build(folder: Path, given: dict[str, str], root: Path = ROOT) -> None:
    """Execute the steps of the last stage in a new folder.

    Args:
        folder: Stands for the root of the image.
        given: Values of ARG.
        root: The folder of the Dockerfile.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", folder / ENVIRONMENT], check=True)
    hidden = ("PYTHON", "PIP_", "VIRTUAL_ENV")  # an image has none of the caller's settings
    variables = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    # The index of packages is the machine's, as it is for a builder.
    variables |= {k: v for k, v in os.environ.items() if k.startswith("PIP_") and "INDEX" in k}
    variables["PATH"] = f"{folder / ENVIRONMENT / 'bin'}{os.pathsep}{variables['PATH']}"
    at, rules, total = folder, rules_of(root), 0.0
    for step in final_stage(root).steps:
        if step.name in ("ARG", "ENV"):
            for word in shlex.split(step.value):
                name, _, value = word.partition("=")
                variables[name] = given.get(name, value) if step.name == "ARG" else value
        elif step.name == "WORKDIR":
            at = folder / step.value.lstrip("/")
            at.mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            *sources, target = shlex.split(step.value)
            for source in (source for source in sources if is_sent(source, rules)):
                if (root / source).is_dir():
                    skipped = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(root / source, at / target, dirs_exist_ok=True, ignore=skipped)
                else:
                    shutil.copy2(root / source, at / target)
        elif step.name == "RUN" and not step.value.startswith("useradd "):
            began = time.perf_counter()
            subprocess.run(["/bin/sh", "-ec", step.value], cwd=at, env=variables, check=True)
            total += time.perf_counter() - began
            print(f"{time.perf_counter() - began:6.1f} s  RUN {step.value}", flush=True)
    print(f"{total:6.1f} s  in all")


def commands(root: Path = ROOT) -> dict[str, list[str]]:
    """ENTRYPOINT, CMD and the command of HEALTHCHECK of the last stage, in their exec forms."""
    final = final_stage(root)
    found = {name: json.loads(final.values(name)[-1]) for name in ("ENTRYPOINT", "CMD")}
    health = final.values("HEALTHCHECK")[-1]
    return {**found, "HEALTHCHECK": json.loads(health.partition(" CMD ")[2])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("check", "build"))
    parser.add_argument("folder", type=Path, nargs="?", help="of build: a new folder")
    parser.add_argument("--arg", metavar="NAME=VALUE", action="append", default=[])
    options = parser.parse_args()
    if options.command == "check":
        found = problems()
        print("\n".join(found) or "the Dockerfile has the steps of README.md")
        return 1 if found else 0
    if options.folder is None or options.folder.exists():
        parser.error("build needs a new folder")
    build(options.folder, dict(arg.partition("=")[::2] for arg in options.arg))
    return 0


if __name__ == "__main__":
    sys.exit(main())
