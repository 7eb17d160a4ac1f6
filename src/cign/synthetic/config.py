"""Configuration of the generator, and its validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cign.errors import InputError, one_of

VARIANTS = ("plain", "duet", "clutter", "longtail", "openset")
GENERATOR_VERSION = 1
FRAME_RATE_HZ = 12
SAMPLE_RATE_HZ = 16_000

# Shares of clips with an absent or misleading modality: equal in all synthetic datasets and
# variants except duet, whose sources are all present. In a misleading clip only one modality
# shows the labelled class, hence the accuracy limit.
SHARE_SOUND_DROWNED = 0.15
SHARE_PICTURE_HIDDEN = 0.15
SHARE_OTHER_SOUND = 0.02
SHARE_OTHER_PICTURE = 0.02

_MIN_DUET_SOLOS = 10
_LONGTAIL_RATIO = 100


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """A synthetic corpus.

    Attributes:
        num_classes: Number of classes to be learned (openset adds a quarter as many unknown ones).
        num_train: Training clips per class; of the largest class in variant longtail.
        num_val: Validation clips per class.
        num_test: Test clips per class.
        world: Number of the synthetic dataset: seed of the classes and recording conditions.
        seed: Seed of the clips.
        variant: One of `VARIANTS`.
        size_px: Height and width of the frames in pixels; even, because of 4:2:0 colour.
        duration_s: Length of a clip in seconds.
    """

    num_classes: int = 12
    num_train: int = 40
    num_val: int = 8
    num_test: int = 30
    world: int = 1
    seed: int = 0
    variant: str = "plain"
    size_px: int = 96
    duration_s: float = 3.0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise one_of(self.variant, VARIANTS, "variant")
        for name, low, high in (
            ("num_classes", 2, 9_000),
            ("num_train", 1, 100_000),
            ("num_val", 0, 100_000),
            ("num_test", 0, 100_000),
            ("world", 0, 2**31 - 1),
            ("seed", 0, 2**31 - 1),
            ("size_px", 32, 1024),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise InputError(
                    "bad-value", f"{name} is {value!r}: use a whole number from {low} to {high}"
                )
        if self.size_px % 2:
            raise InputError(
                "bad-value",
                f"size_px is {self.size_px}: H.264 needs an even number; use {self.size_px + 1}",
            )
        if not 1.0 <= self.duration_s <= 60.0:
            raise InputError("bad-value", f"duration_s is {self.duration_s}: use 1 to 60 seconds")
        if self.variant == "duet" and self.num_train <= _MIN_DUET_SOLOS:
            raise InputError(
                "bad-value",
                f"num_train is {self.num_train}: variant duet needs more than {_MIN_DUET_SOLOS}, "
                f"because {_MIN_DUET_SOLOS} training clips of every class are solos",
            )
        if self.variant == "longtail" and self.num_train < 2:
            raise InputError(
                "bad-value", "num_train is 1: variant longtail needs 2 or more in its largest class"
            )

    @property
    def num_frames(self) -> int:
        """Number of frames per clip."""
        return round(self.duration_s * FRAME_RATE_HZ)

    @property
    def num_samples(self) -> int:
        """Number of audio samples per clip."""
        return round(self.duration_s * SAMPLE_RATE_HZ)

    @property
    def num_unknown_classes(self) -> int:
        """Number of classes of split ``unknown``."""
        return -(-self.num_classes // 4) if self.variant == "openset" else 0

    @property
    def num_solos(self) -> int:
        """Training clips per class with one source in variant duet: a third, at least 10."""
        return max(-(-self.num_train // 3), _MIN_DUET_SOLOS)

    @property
    def limit(self) -> float:
        """Best possible accuracy: half of the misleading clips cannot be classified correctly."""
        if self.variant == "duet":
            return 1.0
        return 1.0 - (SHARE_OTHER_SOUND + SHARE_OTHER_PICTURE) / 2

    def longtail_size(self, rank: int) -> int:
        """Return the training clips of the class of a rank: exponential, 100 to 1, at least 2."""
        exponent = rank / (self.num_classes - 1)
        return max(2, round(self.num_train * _LONGTAIL_RATIO**-exponent))

    def record(self) -> dict[str, Any]:
        """Return the contents of `synth.json`, which must match to resume an unfinished corpus."""
        return {
            "format": 1,
            "generator_version": GENERATOR_VERSION,
            "config": asdict(self),
            "frame_rate_hz": FRAME_RATE_HZ,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "shares": shares(self.variant),
            "limit": self.limit,
        }


def shares(variant: str) -> dict[str, float]:
    """Return the share of clips of each condition; in other clips both modalities are present."""
    if variant == "duet":
        return {}
    return {
        "drowned": SHARE_SOUND_DROWNED,
        "hidden": SHARE_PICTURE_HIDDEN,
        "other_sound": SHARE_OTHER_SOUND,
        "other_picture": SHARE_OTHER_PICTURE,
    }
