"""The comparison tables: which methods, data and encoders."""

from __future__ import annotations

from all_clips import METHODS as ALL_CLIPS
from all_clips import NUM_INNER_FOLDS
from compare_data import REAL_SETS
from compare_jobs import Comparison, Limits, Row, Section, Table
from folds import NUM_FOLDS

NUM_DRAWS = 2000  # of the clips of a part
# Of the clips of data of one part: with fewer draws no p-value can hold after Holm's correction.
DRAWS_OF_ONE = 10_000
CLOSED = (Row(method="analytic"), Row(method="cign_analytic"))
SMALL_MEMORY = "5/class"
SHOTS = (1, 2, 5, 10)

# ------------------------------------------------ real recordings, five folds, no test clips

_FOLDS_LIMITS = Limits(width=192, min_steps=250)
_FOLDS_ROWS = (
    *CLOSED,
    *(Row(method=name) for name in ALL_CLIPS),
    Row(method="finetune"),
    Row(method="bic", memory=SMALL_MEMORY),
    Row(method="finetune", memory=SMALL_MEMORY),
    Row(method="cign_replay", memory=SMALL_MEMORY),
    Row(method="icarl", memory=SMALL_MEMORY),
    Row(method="cign_tuned"),
    Row(method="cign_tuned", memory=SMALL_MEMORY),
    Row(method="joint"),
    Row(method="cign"),
    Row(method="cign", memory=SMALL_MEMORY),
)
_JOINT_BEFORE = Row(
    method="joint",
    label="joint, options before the tuning",
    settings=(
        *("training.learning_rate=0.001", "training.weight_decay=0.05"),
        *("fusion.kind=own", "fusion.temperature=1.0"),
    ),
)
_FEW_ROWS = (*CLOSED, Row(method="finetune"), Row(method="joint"))
_FOLDS_ONLY = {
    "cign": (("real24", "real24_clutter"), 1),
    "cign_tuned": (None, 1),
    "joint": (None, 1),
}
_FOLDS_TEXT = f"""
`make real-table`

Percent: last accuracy, on `real24_duets` mean average precision. Four tasks of six classes, up to
three class orders, seed 0.

**The test clips of the sets are not read.** Training and validation clips are divided into
{NUM_FOLDS} folds by source: the tested clips of a fold have all their sources in it, the training
clips none. Figures on the test clips that were known before informed the design of `cign_analytic`
and of this comparison, and the folds were used during its development.

- **±**: standard deviation over the folds. **s**: processor time of a run on one core.
- **difference**: audio-visual, in points, on the same clips, class orders averaged within a fold.
  The interval is the wider of a bootstrap over folds and, within them, clips ({NUM_DRAWS:,} draws
  of the clips, 10,000 of the folds) and Student's t over the folds (marked t).
  `benchmarks/results/real_table.csv` has those of all modalities.
- Mean average precision ranks the clips of one class after another. A bias towards new classes, by
  which `finetune` loses accuracy, hardly lowers it.
- **memory**: exemplars. **stored**: exemplars or, for closed-form methods, statistics of clips.
- `ncm`, `lda`, `logistic`, `kernel`: nearest class mean, shrunk linear discriminant analysis,
  logistic regression and ridge regression with a Gaussian kernel on all classes and clips at once,
  on the mean of the tokens, on mean and maximum, or also on the standard deviation (`statistics`).
  The strength of the regularisation is chosen for each modality on {NUM_INNER_FOLDS} inner folds by
  source, and so is the fusion of both. They do not depend on the class order.
- `joint` is trained on the clips of all tasks so far, in one class order. So is `cign_tuned`, which
  takes over a minute with exemplars.
- Options are those of the recipes, tuned on generated clips: 20 epochs in batches of 32 for all
  gradient methods. `joint` is also run with the learning rate, weight decay and fusion that it had
  before that tuning: what is best on generated clips need not be on recordings. `cign` has at least
  {_FOLDS_LIMITS.min_steps} steps per task, not 1,000 as in its recipe, to limit the time, and is
  run in one class order and on two sets. `cign` and the transformer trunks have width
  {_FOLDS_LIMITS.width}. Transformers multiply in bfloat16.
- Few clips: the first of each class in the training clips of a fold, ranked by a hash. With few
  clips and with random encoders only some methods are run, without memory and in one class order.
"""


def _sets(backbone: str) -> tuple[Table, ...]:
    return tuple(Table(backbone=backbone, dataset=dataset) for dataset in REAL_SETS)


REAL_FOLDS = Comparison(
    name="real_table",
    title="Methods on real recordings",
    introduction=_FOLDS_TEXT,
    limits=_FOLDS_LIMITS,
    sections=(
        Section(tables=_sets("lite0+sfx"), rows=(*_FOLDS_ROWS, _JOINT_BEFORE), only=_FOLDS_ONLY),
        Section(tables=_sets("small"), rows=_FOLDS_ROWS, only=_FOLDS_ONLY),
        Section(
            tables=tuple(
                Table(backbone=backbone, dataset="real24", shots=shots)
                for backbone in ("lite0+sfx", "small")
                for shots in SHOTS
            ),
            rows=_FEW_ROWS,
            orders=1,
        ),
        Section(tables=_sets("random"), rows=_FEW_ROWS, orders=1),
    ),
)

# --------------------------------------- parts of the closed form, same folds, one class order

_PARTS_ROWS = (
    Row(method="cign_analytic"),
    Row(
        method="cign_analytic",
        label="cign_analytic, no assignment",
        settings=("assignment_temperature=[null]",),
    ),
    Row(
        method="cign_analytic",
        label="cign_analytic, no contrast or saliency",
        settings=("contrast=[0.0]", "saliency=[0.0]"),
    ),
    Row(
        method="cign_analytic",
        label="cign_analytic, whole clips only",
        settings=("token_share=[0.0]",),
    ),
    Row(
        method="cign_analytic", label="cign_analytic, no roots", settings=("normalisation=[layer]",)
    ),
    Row(
        method="cign_analytic",
        label="cign_analytic, mean of tokens",
        settings=("pooling=[mean]",),
    ),
    Row(
        method="cign_analytic",
        label="cign_analytic, no balance",
        settings=("count_power=[0.0]",),
    ),
    Row(
        method="cign_analytic",
        label="cign_analytic, nothing selected",
        settings=(
            *("normalisation=[layer]", "contrast=[0.5]", "saliency=[2.0]", "token_share=[0.2]"),
            *("ridge=[20.0]", "assignment_temperature=[0.3]", "temperature=[0.1]"),
            "count_power=[0.5]",
        ),
    ),
    Row(method="analytic"),
    Row(method="analytic", label="analytic, mean of tokens", settings=("pooling=[mean]",)),
    Row(
        method="analytic",
        label="analytic, mean, maximum, deviation",
        settings=("pooling=[statistics]",),
    ),
    Row(method="analytic", label="analytic, no balance", settings=("count_power=[0.0]",)),
    Row(
        method="analytic",
        label="analytic, nothing selected",
        settings=(
            *("pooling=[mean]", "normalisation=[layer]", "ridge=[100.0]", "temperature=[0.1]"),
            "count_power=[0.5]",
        ),
    ),
)
_PARTS_TEXT = f"""
`python benchmarks/compare.py parts`

Percent: last accuracy, on `real24_duets` mean average precision, on the {NUM_FOLDS} folds of the
[table of real recordings](real_table.md): four tasks, class order 0, no test clips. Each row leaves
out one part of the method, or fixes what is otherwise selected; the difference from
`cign_analytic` is that part's share. All other options are selected again.

- **no assignment**: tokens are weighted by their saliency alone, the same for all classes.
- **no contrast or saliency**: tokens as they are, with equal weights, before the assignment.
- **whole clips only**: no sums over single tokens.
- **mean of tokens**: grouping left out altogether; what remains is a ridge regression on random
  features of the mean token, with everything else selected as in `cign_analytic`.
- **no balance**: scores are not corrected for the number of clips of a class.
- **nothing selected**: the default of every option.
- **±**, **difference**, **s**: as in the table of real recordings.
"""
PARTS = Comparison(
    name="parts",
    title="Parts of the closed form",
    introduction=_PARTS_TEXT,
    sections=(Section(tables=_sets("lite0+sfx"), rows=_PARTS_ROWS, orders=1),),
    against=("cign_analytic",),
)

# ------------------------------ which reference is the best use of all clips, on the tuning dataset

_REFERENCES_TEXT = """
`python benchmarks/compare.py references`

**These are the test clips of the dataset on which all options were tuned**: the page chooses a
reference for the tables of other data, and is no evidence for any method. All methods are trained
on all clips at once, except `analytic`, for comparison. Percent, accuracy after the last of four
tasks; `joint_best` is the most accurate audio-visual row but `analytic`.
"""
REFERENCES = Comparison(
    name="references",
    title="Methods that use all clips, on the tuning dataset",
    introduction=_REFERENCES_TEXT,
    sections=(
        Section(
            tables=(Table(backbone="lite0+sfx", dataset="world1"),),
            rows=(
                *(Row(method=name) for name in ALL_CLIPS),
                Row(method="joint"),
                Row(method="analytic"),
            ),
            orders=1,
        ),
    ),
    against=("joint",),
)

# --------------------------- the evidence: test sets that are read once, with frozen recipes

LARGE_MEMORY = "20/class"
# Exemplars with about as many bytes as the sums of `cign_analytic`: all clips of these sets.
EQUAL_BYTES = "222MB"
_CLOSED_ROWS = tuple(
    Row(method=name) for name in ("analytic", "cign_analytic", "ncm", "slda", "ranpac", "fecam")
)
_WITHOUT_CLIPS = tuple(
    Row(method=name) for name in ("finetune", "masked", "ewc", "ewc_online", "lwf")
)
_REPLAY = (
    *("finetune", "er", "derpp", "er_ace", "wa", "icarl", "il2m", "bic", "ssil", "lwf", "podnet"),
    *("av_cil", "cign_replay"),
)
_HEAVY = (
    Row(method="cign_tuned"),
    Row(method="cign_tuned", memory=SMALL_MEMORY),
    Row(method="cign"),
    Row(method="cign", memory=SMALL_MEMORY),
)
_LARGE = ("er", "derpp", "wa", "icarl", "bic", "ssil", "cign_replay", "cign_tuned")
_ALL_ROWS = (
    *_CLOSED_ROWS,
    *(Row(method=name) for name in ALL_CLIPS),
    *_WITHOUT_CLIPS,
    *(Row(method=name, memory=SMALL_MEMORY) for name in _REPLAY),
    *(Row(method=name, memory=LARGE_MEMORY) for name in _LARGE),
    Row(method="er", memory=EQUAL_BYTES),
    Row(method="joint"),
    *_HEAVY,
)
_SHORT_ROWS = (
    *_CLOSED_ROWS,
    *(Row(method=name) for name in ALL_CLIPS),
    Row(method="finetune"),
    *(Row(method=name, memory=SMALL_MEMORY) for name in _REPLAY),
    Row(method="joint"),
)
# Prompts need tokens that enter a frozen transformer, which only `small` has; `masked` has their
# loss without prompts.
_SMALL_ROWS = (*_SHORT_ROWS, *(Row(method=name) for name in ("masked", "l2p", "dualprompt")))
_MAIN_ROWS = (*_CLOSED_ROWS, *(Row(method=name) for name in ALL_CLIPS), Row(method="joint"))
_HEAVY_ONLY = {"cign": (None, 1), "cign_tuned": (None, 1), "joint": (None, 1)}
_EVIDENCE_LIMITS = Limits(width=192, min_steps=250)
_EVIDENCE_TEXT = f"""
Percent: last accuracy, on sets of several labels mean average precision. Every method has the
recipe that was tuned on synthetic dataset 1 ([tuning](tuning.md)), with the fusion of both
modalities that was best there, and the same epochs and batches.

- **±**: standard deviation over folds or datasets. **s**: processor time of a run on one core.
- **difference**: audio-visual, in points, on the same clips, class orders averaged. The interval is
  the wider of a bootstrap over datasets and, within them, clips ({NUM_DRAWS:,} draws of the clips,
  10,000 of the datasets) and Student's t over the datasets (marked t). On a single test set only
  clips are drawn ({DRAWS_OF_ONE:,} draws).
- **memory**: exemplars; {EQUAL_BYTES} are as many bytes as the sums of `cign_analytic`, enough for
  all clips. **stored**: exemplars or, for closed-form methods, statistics of clips.
- `ncm_`, `lda_`, `logistic_` and `kernel_` with a pooling, and `joint`, use all clips at once. The
  regularisation and the fusion of the former are chosen on inner folds of the training clips.
  `joint_best`, the best use of all clips on synthetic dataset 1, is `joint`
  ([references](references.md)).
- To limit the time, `cign`, `cign_tuned` and `joint`, and all methods on backbone `small` and with
  12 tasks, are run in one class order, the latter on one dataset; `cign` has at least
  {_EVIDENCE_LIMITS.min_steps} steps per task instead of 1,000.
"""
_AGAINST = ("cign_analytic", "analytic", "joint")
WORLDS = Comparison(
    name="worlds",
    title="Methods on generated clips",
    introduction="\n`python benchmarks/compare.py worlds`\n" + _EVIDENCE_TEXT,
    limits=_EVIDENCE_LIMITS,
    against=_AGAINST,
    sections=(
        Section(
            tables=(Table(backbone="lite0+sfx", dataset="worlds"),),
            rows=_ALL_ROWS,
            only=_HEAVY_ONLY,
        ),
        Section(
            tables=(Table(backbone="lite0+sfx", dataset="world7", num_tasks=12),),
            rows=_SHORT_ROWS,
            orders=1,
        ),
        Section(
            tables=tuple(
                Table(backbone="lite0+sfx", dataset=f"worlds-{variant}")
                for variant in ("clutter", "duet", "longtail")
            ),
            rows=_MAIN_ROWS,
            only=_HEAVY_ONLY,
        ),
        Section(tables=(Table(backbone="small", dataset="worlds"),), rows=_SMALL_ROWS, orders=1),
    ),
)

_TEST_TEXT = f"""
**The test clips of these sets are read once, with frozen recipes.** All training and validation
clips are trained on. Figures on these test clips that were known before the folds were made
informed the design of `cign_analytic`.
{_EVIDENCE_TEXT}"""


def _tests(backbone: str) -> tuple[Table, ...]:
    return tuple(Table(backbone=backbone, dataset=f"{dataset}-test") for dataset in REAL_SETS)


REAL_TEST = Comparison(
    name="real_test",
    title="Methods on the test clips of real recordings",
    introduction="\n`CIGN_REAL=work/real python benchmarks/compare.py real_test`\n" + _TEST_TEXT,
    limits=_EVIDENCE_LIMITS,
    against=_AGAINST,
    sections=(
        Section(tables=_tests("lite0+sfx"), rows=(*_ALL_ROWS, _JOINT_BEFORE), only=_HEAVY_ONLY),
        Section(
            tables=tuple(
                Table(backbone="lite0+sfx", dataset="real24-test", shots=shots) for shots in SHOTS
            ),
            rows=_MAIN_ROWS,
            only=_HEAVY_ONLY,
        ),
    ),
)

# ------------------------------------------------- streams other than tasks, on one dataset

_STREAMS_TEXT = """
`python benchmarks/compare.py streams`

Percent: accuracy after the last of four tasks, on the first of the synthetic datasets that are read
once, with frozen recipes, in one class order. *blurry*: a tenth of the clips of each class arrives
in later tasks. *online*: each clip is learned once, in batches of 10. *fewshot*: twelve classes
with all clips, then five clips of each class. Methods that refuse a stream have no row
([streams](../streams.md)).

- **difference**: audio-visual, in points, on the same clips; intervals from draws of the clips.
- **forgetting**, **stored**, **s**: as in the table of generated clips.
"""
STREAMS = Comparison(
    name="streams",
    title="Streams other than tasks",
    introduction=_STREAMS_TEXT,
    limits=_EVIDENCE_LIMITS,
    sections=(
        Section(
            tables=tuple(
                Table(backbone="lite0+sfx", dataset="world7", stream=stream)
                for stream in ("blurry", "online", "fewshot")
            ),
            rows=(
                *_CLOSED_ROWS,
                *(Row(method=name) for name in ("finetune", "masked", "lwf")),
                *(
                    Row(method=name, memory=SMALL_MEMORY)
                    for name in ("finetune", "er", "derpp", "er_ace", "icarl", "cign_replay")
                ),
            ),
            orders=1,
        ),
    ),
)

COMPARISONS = {one.name: one for one in (REAL_FOLDS, PARTS, REFERENCES, WORLDS, REAL_TEST, STREAMS)}
