"""The commands: what each takes and shows. Heavy modules are imported when a command runs.

A command is a module with ``SUMMARY`` (one line), ``add_options(parser)`` and ``run(options)``;
``GO_ON``, where it has one, says how to go on after an interruption.
"""

# name -> one line for `cign --help`; the module of the same name does the rest.
COMMANDS: dict[str, str] = {
    "synth": "write the embedded benchmark: clips of procedural instruments, as MP4 files",
    "inspect": "say what is in a dataset or a prepared store",
    "prepare": "decode clips once into a store, and cache the tokens of a backbone",
    "train": "learn the classes of a store, task after task",
    "bench": "compare methods: a grid of runs in parallel, a table with intervals and costs",
    "evaluate": "measure a model on any prepared clips",
    "add": "teach a trained model new classes, or more clips of known ones",
    "versions": "list the versions of a model, or go back to the one before",
    "rename": "give a class of a model another name",
    "remove": "have a model forget a class",
    "predict": "say what is seen and heard in files",
    "app": "serve a web page: drop a clip, see the answer and the maps, teach a new class",
    "metrics": "compute every number of runs, old ones too, each with its formula",
    "export": "write a model as ONNX or torch.export, to run without cign",
    "report": "make an HTML page about one or several runs",
    "demo": "all of it in three minutes: clips, store, four methods, table, report",
}
