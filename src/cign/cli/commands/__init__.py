"""The commands: what each takes and shows. Heavy modules are imported when a command runs.

A command is a module with ``SUMMARY`` (one line), ``EXAMPLE`` (one or more lines for ``--help``),
``add_options(parser)`` and ``run(options)``; ``GO_ON``, where it has one, says how to go on after
an interruption.
"""

# Purpose -> command -> one line for `cign --help`; the module of the command's name does the rest.
COMMAND_GROUPS: dict[str, dict[str, str]] = {
    "getting started": {
        "demo": "all of it in three minutes: clips, store, training, table, report",
    },
    "data": {
        "synth": "write the embedded benchmark: clips of procedural instruments, as MP4 files",
        "inspect": "show what is in a dataset or a prepared store",
        "prepare": "decode clips once into a store, and cache the tokens of a backbone",
    },
    "training": {
        "train": "learn the classes of a store, in one task or several",
        "add": "teach a trained model new classes, or more clips of known ones",
        "rename": "give a class of a model another name",
        "remove": "have a model forget a class",
        "versions": "list the versions of a model, or go back to the one before",
    },
    "using a model": {
        "predict": "classify files, and tell which are of unknown classes",
        "evaluate": "measure a model on any prepared clips",
        "app": "serve a web app: drop a clip, see predictions and maps, teach a class",
        "export": "write a model as ONNX or torch.export, to run without cign",
    },
    "comparing": {
        "bench": "compare methods: a grid of runs, a table with intervals and costs",
        "metrics": "compute all metrics of finished runs, each with its formula",
        "report": "make an HTML page about one or several runs",
    },
    "shell": {
        "completion": "print a completion script for bash, zsh or fish",
    },
}

COMMANDS: dict[str, str] = {
    name: summary for group in COMMAND_GROUPS.values() for name, summary in group.items()
}
