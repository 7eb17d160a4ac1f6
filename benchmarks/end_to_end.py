"""Recipes for end-to-end training: every gradient method with the same training options.

    python benchmarks/end_to_end.py tune work/stores/world1-12classes    three learning rates
    python benchmarks/end_to_end.py write 3e-4 --to work/end_to_end-recipes    for `cign bench`

and with ``--slow`` the same for encoders with a lower learning rate: the weights after the encoders
train according to the method's own recipe (its learning rate, its weight decay), the encoders at
one rate for all methods, for 10 epochs.

Method-specific settings (loss weights, trunk, temperatures) are those of the method's recipe, tuned
on cached tokens. The learning rate is common to all methods and chosen on synthetic dataset 1 by
finetuning with a memory; it is not tuned per method. Only `cign` uses the release's training, Adam
at 1e-4 for 20 epochs, twice as many as the others. Closed-form methods adapt their encoders on the
first task with the same training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from cign.bench import BenchConfig, run_bench
from cign.utils.files import write_text
from cign.utils.options import builtin_recipe

HERE = Path(__file__).parent
RESULT = HERE / "results" / "end_to_end_tuning.md"
SLOW_RESULT = HERE / "results" / "slow_encoders_tuning.md"
RATES, SLOW_RATES = (1e-3, 3e-4, 1e-4), (3e-4, 1e-4, 3e-5)
MEMORY = "60"
CLOSED_FORMS = ("analytic", "cign_analytic")
METHODS = (
    *("finetune", "joint", "ewc", "ewc_online", "lwf", "icarl", "il2m", "bic", "podnet", "ssil"),
    *("av_cil", "cign", "cign_tuned", "cign_replay", *CLOSED_FORMS),
)


def training(rate: float) -> dict[str, Any]:
    """The common training options."""
    return {
        **{"num_epochs": 10, "min_steps": 0, "batch_size": 32, "optimizer": "adamw"},
        **{"schedule": "cosine", "learning_rate": rate, "weight_decay": 0.05},
    }


def slow_recipe(method: str, rate: float) -> dict[str, Any]:
    """A method's recipe with the common learning rate for encoders."""
    own = builtin_recipe(method)
    name = "adaptation" if method in CLOSED_FORMS else "training"
    own_training = own.options[name]
    share = rate / own_training["learning_rate"]
    slow = {"num_epochs": 10, "min_steps": 0, "encoder_rate": share}
    options, sources = {**own.options, name: {**own_training, **slow}}, dict(own.sources)
    if method == "podnet":  # half of training's rates, as in the authors' code
        options["balanced_training"] = {**options["balanced_training"], **slow}
    sources[f"{name}.num_epochs"] = "as in benchmarks/results/end_to_end_tuning.md"
    sources[f"{name}.encoder_rate"] = (
        f"encoders at {rate:g} (benchmarks/results/{SLOW_RESULT.name})"
    )
    return {"method": method, "options": options, "sources": sources}


def recipe(method: str, rate: float) -> dict[str, Any]:
    """A method's recipe with the common training options."""
    own = builtin_recipe(method)
    options, sources = dict(own.options), dict(own.sources)
    common = "one for all methods (benchmarks/results/end_to_end_tuning.md)"
    if method == "cign":
        options["training"] = {**options["training"], "num_epochs": 20, "min_steps": 0}
        sources = {k: v for k, v in sources.items() if not k.startswith("training")}
        sources["training"] = "release; 20 epochs without a minimum number of steps"
    else:
        name = "adaptation" if method in CLOSED_FORMS else "training"
        options[name], sources[name] = training(rate), common
    if method == "podnet":
        options["balanced_training"] = {
            **options["balanced_training"],
            **{"num_epochs": 10, "learning_rate": rate / 2},
        }
        sources = {k: v for k, v in sources.items() if not k.startswith("balanced_training")}
        sources["balanced_training"] = "half of training's rate, as in the authors' code"
    return {"method": method, "options": options, "sources": sources}


def save(recipe: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(recipe, sort_keys=False, width=99))


def tune(store: Path, folder: Path, *, slow: bool) -> None:
    """Last accuracy of finetuning with a memory at each learning rate."""
    rates, of_rate = (SLOW_RATES, slow_recipe) if slow else (RATES, recipe)
    names = [f"finetune-{number}" for number in range(1, len(rates) + 1)]
    for name, rate in zip(names, rates, strict=True):
        save(of_rate("finetune", rate), folder / "recipes" / f"{name}.yaml")
    config = BenchConfig(
        stores=(store,),
        methods=tuple(names),
        tasks=(4,),
        memories=(MEMORY,),
        recipes=folder / "recipes",
        settings={"regime": "end-to-end", "backbone": "small", "bf16": True},
    )
    table = run_bench(config, folder, keep_models=False).table
    rows = {row["method"]: row for row in table["rows"] if row["store"] == "all"}
    what = "slowly trained encoders" if slow else "end-to-end training"
    command = f"python benchmarks/end_to_end.py tune {store}{' --slow' if slow else ''}"
    lines = [
        f"# Learning rate of {what}",
        "",
        f"`{command}`: finetune with {MEMORY} exemplars, 12",
        "classes, 4 tasks, last accuracy in percent. The best rate is used for all methods.",
        "",
        f"| learning rate{' of the encoders' if slow else ''} | audio | visual | audio-visual |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for name, rate in zip(names, rates, strict=True):
        numbers = [rows[name]["numbers"][f"last_{r}"] for r in ("audio", "visual", "audio_visual")]
        cells = " | ".join(f"{number['value']:.1f}" for number in numbers)
        lines.append(f"| {rate:g} | {cells} |")
    write_text(SLOW_RESULT if slow else RESULT, "\n".join(lines) + "\n")
    print("\n".join(lines[5:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    tuning = commands.add_parser("tune")
    tuning.add_argument("store", type=Path)
    tuning.add_argument("--to", type=Path)
    tuning.add_argument("--slow", action="store_true")
    writing = commands.add_parser("write")
    writing.add_argument("rate", type=float)
    writing.add_argument("--to", type=Path, required=True)
    writing.add_argument("--slow", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "tune":
        folder = Path(f"work/{'slow_encoders' if arguments.slow else 'end_to_end'}_tuning")
        tune(arguments.store, arguments.to or folder, slow=arguments.slow)
        return
    for method in METHODS:
        made = (slow_recipe if arguments.slow else recipe)(method, arguments.rate)
        save(made, arguments.to / f"{method}.yaml")


if __name__ == "__main__":
    main()
