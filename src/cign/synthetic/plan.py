"""Plan the clips of a corpus before rendering: their classes, splits and conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cign.synthetic.classes import PLAN_STREAM
from cign.synthetic.config import SynthConfig, shares
from cign.synthetic.draws import Draws
from cign.vocabulary import SPLITS


@dataclass(frozen=True, kw_only=True)
class ClipDraw:
    """Identity and planned content of a clip; its details are drawn from its identity.

    Attributes:
        world: Number of the synthetic dataset.
        seed: Seed of the clips.
        split: One of `SPLITS`.
        class_ids: The labelled classes, one or two.
        index: Index of the clip among the clips of its split and first class.
        condition: ``true``, ``drowned``, ``hidden``, ``other_sound`` or ``other_picture``.
        other_id: The class of a misleading modality, or -1.
        variant: The variant of the corpus.
        size_px: Height and width of the frames in pixels.
        duration_s: Length in seconds.
    """

    world: int
    seed: int
    split: str
    class_ids: tuple[int, ...]
    index: int
    condition: str = "true"
    other_id: int = -1
    variant: str = "plain"
    size_px: int = 96
    duration_s: float = 3.0

    @property
    def audio_present(self) -> bool:
        """Whether the labelled classes are audible."""
        return self.condition not in ("drowned", "other_sound")

    @property
    def visual_present(self) -> bool:
        """Whether the labelled classes are visible."""
        return self.condition not in ("hidden", "other_picture")


def class_sizes(config: SynthConfig) -> list[int]:
    """Return the number of training clips of each class.

    In variant longtail, a permutation that depends on the synthetic dataset assigns the sizes to
    the classes, so that the sizes are independent of the class order.
    """
    if config.variant != "longtail":
        return [config.num_train] * config.num_classes
    ranks = Draws(PLAN_STREAM, config.world, 0).order(config.num_classes)
    return [config.longtail_size(rank) for rank in ranks]


def plan(config: SynthConfig) -> list[ClipDraw]:
    """List the clips of a corpus, sorted by split, class and index."""
    known = range(config.num_classes)
    unknown = range(config.num_classes, config.num_classes + config.num_unknown_classes)
    sizes = class_sizes(config)
    clips: list[ClipDraw] = []
    for split in SPLITS:
        classes = unknown if split == "unknown" else known
        per_class = {"val": config.num_val, "test": config.num_test, "unknown": config.num_test}
        one_split = [
            ClipDraw(
                world=config.world,
                seed=config.seed,
                split=split,
                class_ids=(class_id,),
                index=index,
                variant=config.variant,
                size_px=config.size_px,
                duration_s=config.duration_s,
            )
            for class_id in classes
            for index in range(sizes[class_id] if split == "train" else per_class[split])
        ]
        draws = Draws(PLAN_STREAM, config.world, 1, config.seed, SPLITS.index(split))
        if config.variant == "duet":
            clips += [_with_partner(clip, config, draws) for clip in one_split]
        else:
            misled_by = classes if len(classes) > 1 else known
            clips += _with_conditions(one_split, config.variant, draws, list(misled_by))
    return clips


def _with_partner(clip: ClipDraw, config: SynthConfig, draws: Draws) -> ClipDraw:
    """Turn a solo into a duet, except for the first training clips of every class."""
    if clip.split == "train" and clip.index < config.num_solos:
        return clip
    first = clip.class_ids[0]
    second = (first + draws.integer(1, config.num_classes - 1)) % config.num_classes
    return replace(clip, class_ids=(first, second))


def _with_conditions(
    clips: list[ClipDraw], variant: str, draws: Draws, misled_by: list[int]
) -> list[ClipDraw]:
    """Assign the conditions to the clips of a split: exact shares, mutually exclusive."""
    order = draws.order(len(clips))
    assigned = list(clips)
    begin = 0
    for condition, share in shares(variant).items():
        end = begin + round(share * len(clips))
        for i in order[begin:end]:
            clip = clips[i]
            others = [c for c in misled_by if c != clip.class_ids[0]]
            is_misled = condition in ("other_sound", "other_picture")
            other_id = draws.pick(others) if is_misled else -1
            assigned[i] = replace(clip, condition=condition, other_id=other_id)
        begin = end
    return assigned
