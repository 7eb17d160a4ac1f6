"""Classes and recording conditions of a synthetic dataset (option ``--world``).

The audio and visual parameters of a class are drawn independently. Class i of a dataset does not
depend on the number of classes, the variant or the seed of the clips.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cign.synthetic.draws import Draws
from cign.synthetic.names import draw_names

# First keys of the random streams, so that no stream is used twice.
WORLD_STREAM, CLASS_STREAM, NAME_STREAM, CLIP_STREAM, PLAN_STREAM = range(5)
# Classes with at least this id are never learned: they are the background of clutter clips.
FIRST_BYSTANDER = 10_000
NUM_BYSTANDERS = 64
NUM_STEPS = 8

OUTLINES = ("petals", "polygon", "star", "gear", "bean", "cross")
TEXTURES = ("stripes", "rings", "checks", "dots", "spokes", "waves", "halves")


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Audio parameters of a class. Times in seconds, frequencies in hertz, pitches in semitones."""

    ratios: tuple[float, ...]  # frequency ratios of the partials to the pitch
    gains: tuple[float, ...]
    attack_s: float
    decay_s: float
    sustain: float
    noise_gain: float
    noise_octaves: float  # centre of the noise band above the pitch
    vibrato_hz: float
    vibrato_semitones: float
    tremolo_hz: float
    tremolo_depth: float
    formants_hz: tuple[float, ...]
    formant_gains: tuple[float, ...]
    formant_octaves: float  # width
    register_hz: float
    glide_semitones: float
    steps_hz: float
    accents: tuple[float, ...]  # loudness of each step of the rhythm; 0 is a rest
    intervals: tuple[float, ...]  # pitch of each step


@dataclass(frozen=True, kw_only=True)
class Look:
    """Visual parameters and note-driven motion of a class. Lengths in units of its radius."""

    outline: str
    fold: int
    depth: float
    lean: float
    aspect: float
    hole: float
    rim: float
    texture: str
    frequency: float
    texture_angle: float
    contrast: float
    hues: tuple[float, float]
    saturations: tuple[float, float]
    values: tuple[float, float]
    pulse: float
    hop: float
    turn: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Recording conditions of a synthetic dataset, which differ between datasets."""

    snr_db: tuple[float, float]
    noise_slope: tuple[float, float]
    tilt_db: float  # of room and microphone, per octave
    num_peaks: int
    peak_db: float
    hue_jitter: float
    light: tuple[float, float]
    num_debris: tuple[int, int]
    pan: float


def draw_settings(world: int) -> Settings:
    """Draw the recording conditions of a synthetic dataset."""
    draws = Draws(WORLD_STREAM, world)
    low_db = draws.uniform(-4.0, -1.0)
    return Settings(
        snr_db=(low_db, low_db + 16.0),
        noise_slope=(draws.uniform(0.0, 0.5), draws.uniform(1.0, 1.6)),
        tilt_db=draws.uniform(3.0, 5.0),
        num_peaks=draws.integer(4, 6),
        peak_db=draws.uniform(12.0, 16.0),
        hue_jitter=draws.uniform(0.04, 0.06),
        light=(draws.uniform(0.65, 0.8), draws.uniform(1.1, 1.2)),
        num_debris=(1, draws.integer(3, 5)),
        pan=draws.uniform(0.08, 0.16),
    )


def draw_sound(draws: Draws) -> Sound:
    """Draw the audio parameters of a class."""
    num_partials = draws.integer(3, 12)
    tilt = draws.uniform(0.3, 2.0)
    even_gain = draws.log_uniform(0.05, 1.5)
    stretch = draws.log_uniform(1e-5, 2e-2) if draws.chance(0.5) else 0.0
    is_bell = draws.chance(0.3)
    ratios, gains = [], []
    position = 1.0
    for partial in range(1, num_partials + 1):
        harmonic = partial * (1.0 + stretch * partial * partial) ** 0.5
        ratios.append(position if is_bell else harmonic)
        position += draws.uniform(0.3, 1.3)
        gain = partial**-tilt * draws.log_uniform(0.5, 2.0)
        gains.append(gain * (even_gain if partial % 2 == 0 else 1.0))
    accents = [draws.uniform(0.5, 1.0) if draws.chance(0.6) else 0.0 for _ in range(NUM_STEPS)]
    accents[0] = 1.0
    spread = draws.pick((0.0, 2.0, 5.0, 9.0))
    return Sound(
        ratios=tuple(ratios),
        gains=tuple(gains),
        attack_s=draws.log_uniform(0.004, 0.15),
        decay_s=draws.log_uniform(0.06, 1.2),
        sustain=draws.pick((0.0, 0.0, 0.3, 0.6)) * draws.uniform(0.7, 1.3),
        noise_gain=draws.pick((0.0, 0.2, 0.6)) * draws.uniform(0.7, 1.5),
        noise_octaves=draws.uniform(0.5, 4.0),
        vibrato_hz=draws.uniform(3.5, 9.0),
        vibrato_semitones=draws.pick((0.0, 0.0, 0.5, 1.0)) * draws.uniform(0.5, 1.5),
        tremolo_hz=draws.uniform(5.0, 18.0),
        tremolo_depth=draws.pick((0.0, 0.0, 0.5, 0.9)),
        formants_hz=(draws.log_uniform(300.0, 1500.0), draws.log_uniform(900.0, 5000.0)),
        formant_gains=(draws.log_uniform(1.0, 8.0), draws.log_uniform(1.0, 8.0)),
        formant_octaves=draws.uniform(0.25, 0.7),
        register_hz=draws.log_uniform(180.0, 500.0),
        glide_semitones=draws.pick((0.0, 0.0, -1.0, 1.0)) * draws.uniform(1.0, 6.0),
        steps_hz=draws.log_uniform(2.5, 9.0),
        accents=tuple(accents),
        intervals=tuple(draws.uniform(-spread, spread) for _ in range(NUM_STEPS)),
    )


def draw_look(draws: Draws) -> Look:
    """Draw the visual parameters of a class."""
    hue = draws.uniform()
    light, dark = draws.uniform(0.75, 1.0), draws.uniform(0.2, 0.6)
    return Look(
        outline=draws.pick(OUTLINES),
        fold=draws.integer(3, 8),
        depth=draws.uniform(0.2, 0.5),
        lean=draws.uniform(-0.6, 0.6),
        aspect=draws.uniform(0.5, 1.0),
        hole=draws.pick((0.0, 0.0, 0.25, 0.45)),
        rim=draws.pick((0.0, 0.08, 0.16)),
        texture=draws.pick(TEXTURES),
        frequency=draws.log_uniform(1.0, 3.0),
        texture_angle=draws.uniform(0.0, 3.14159),
        contrast=draws.uniform(1.5, 5.0),
        hues=(hue, hue + draws.uniform(0.15, 0.85)),
        saturations=(draws.uniform(0.4, 1.0), draws.uniform(0.3, 1.0)),
        values=(light, dark) if draws.chance(0.5) else (dark, light),
        pulse=draws.uniform(0.05, 0.25),
        hop=draws.uniform(0.05, 0.5),
        turn=draws.uniform(0.0, 0.5),
    )


class SyntheticDataset:
    """Classes, class names and recording conditions of a synthetic dataset.

    Args:
        number: Number of the dataset, the value of ``--world``.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.settings = draw_settings(number)
        self._sound = functools.cache(lambda i: draw_sound(Draws(CLASS_STREAM, number, i, 0)))
        self._look = functools.cache(lambda i: draw_look(Draws(CLASS_STREAM, number, i, 1)))

    def sound(self, class_id: int) -> Sound:
        """Return the audio parameters of a class."""
        return self._sound(class_id)

    def look(self, class_id: int) -> Look:
        """Return the visual parameters of a class."""
        return self._look(class_id)

    def names(self, num_names: int) -> list[str]:
        """Return the names of the first ``num_names`` classes."""
        return draw_names(Draws(NAME_STREAM, self.number), num_names)
