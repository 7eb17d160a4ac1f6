"""Render audio by additive synthesis: one phase for all partials, consecutive notes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cign.synthetic.classes import NUM_STEPS, Settings, Sound
from cign.synthetic.config import SAMPLE_RATE_HZ
from cign.synthetic.draws import Draws

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_RELEASE_S = 0.01
_DROWNED_DB = -35.0


@dataclass(frozen=True, kw_only=True)
class Performance:
    """The notes of a source and their times; its object moves with the same notes.

    Attributes:
        start_s: Start of the sounding interval in seconds.
        end_s: End of the sounding interval in seconds.
        onsets_s: Onsets of the notes in seconds, increasing; the first is ``start_s``.
        accents: Loudness of each note.
        semitones: Pitch of each note above the class's register.
    """

    start_s: float
    end_s: float
    onsets_s: Float64
    accents: Float64
    semitones: Float64


def perform(sound: Sound, draws: Draws, start_s: float, end_s: float) -> Performance:
    """Draw a performance of a class: its rhythm with random tempo, offset and transposition."""
    step_s = 1.0 / (sound.steps_hz * draws.uniform(0.8, 1.25))
    transpose = draws.uniform(-12.0, 12.0)
    first = draws.pick([i for i, accent in enumerate(sound.accents) if accent > 0])
    steps = [
        (start_s + i * step_s, sound.accents[k], sound.intervals[k])
        for i, k in enumerate(
            (first + j) % NUM_STEPS for j in range(int((end_s - start_s) / step_s) + 1)
        )
        if sound.accents[k] > 0 and start_s + i * step_s < end_s - 0.05
    ]
    onsets, accents, intervals = (np.array(column) for column in zip(*steps, strict=True))
    wobble = draws.array(len(onsets), low=-0.3, high=0.3)
    loudness = accents * draws.array(len(onsets), low=0.8, high=1.2)
    return Performance(
        start_s=start_s,
        end_s=end_s,
        onsets_s=onsets,
        accents=loudness,
        semitones=transpose + intervals + wobble,
    )


def render_sound(sound: Sound, performance: Performance, draws: Draws, num_samples: int) -> Float32:
    """Render one source with unit loudness within its interval and silence elsewhere.

    Args:
        sound: Audio parameters of the class.
        performance: Its notes.
        draws: The clip's stream.
        num_samples: Length of the clip in samples.

    Returns:
        ``[num_samples]``, root mean square 1 over the interval.
    """
    begin = round(performance.start_s * SAMPLE_RATE_HZ)
    end = min(round(performance.end_s * SAMPLE_RATE_HZ), num_samples)
    times = np.arange(begin, end) / SAMPLE_RATE_HZ
    note = np.searchsorted(performance.onsets_s, times, side="right") - 1
    note = np.maximum(note, 0)
    since = times - performance.onsets_s[note]
    until = np.append(performance.onsets_s[1:], performance.end_s)[note] - times

    pitch_hz = _pitch(sound, performance, note, since, times)
    envelope = _envelope(sound, performance, draws, note, since, until, times)
    tones = _partials(sound, draws, pitch_hz, performance, note)
    breath = _breath(sound, draws, len(times), float(np.mean(pitch_hz)))
    tones /= np.sqrt(np.mean(tones * tones)) + np.float32(1e-9)
    signal = (tones + breath) * envelope
    signal /= np.sqrt(np.mean(signal * signal)) + np.float32(1e-9)
    out = np.zeros(num_samples, np.float32)
    out[begin:end] = signal
    return out


def _pitch(
    sound: Sound, performance: Performance, note: NDArray[np.intp], since: Float64, times: Float64
) -> Float64:
    """Return the pitch in hertz at every sample, with glide and vibrato."""
    semitones = performance.semitones[note] + sound.glide_semitones * np.exp(-since / 0.06)
    vibrato = np.sin(2 * np.pi * sound.vibrato_hz * times)
    semitones = semitones + sound.vibrato_semitones * vibrato
    pitch_hz: Float64 = sound.register_hz * np.exp2(semitones / 12.0)
    return pitch_hz


def _envelope(
    sound: Sound,
    performance: Performance,
    draws: Draws,
    note: NDArray[np.intp],
    since: Float64,
    until: Float64,
    times: Float64,
) -> Float32:
    """Return the envelope at every sample: attack, decay to sustain level, tremolo, release."""
    attack = np.minimum(since / sound.attack_s, 1.0)
    decay_s = sound.decay_s * draws.uniform(0.7, 1.4)
    decay = np.exp(-np.maximum(since - sound.attack_s, 0.0) / decay_s)
    level = attack * (sound.sustain + (1.0 - sound.sustain) * decay)
    level = level * np.clip(until / _RELEASE_S, 0.0, 1.0) * performance.accents[note]
    tremolo = 0.5 + 0.5 * np.sin(2 * np.pi * sound.tremolo_hz * times)
    return (level * (1.0 - sound.tremolo_depth * tremolo)).astype(np.float32)


def _partials(
    sound: Sound,
    draws: Draws,
    pitch_hz: Float64,
    performance: Performance,
    note: NDArray[np.intp],
) -> Float32:
    """Sum the partials, without those near or above half of the sample rate."""
    ratios = np.array(sound.ratios)
    note_hz = sound.register_hz * np.exp2(performance.semitones / 12.0)
    partial_hz = ratios[:, None] * note_hz
    gains = np.array(sound.gains) * draws.array(len(ratios), low=0.7, high=1.3)
    shift = draws.uniform(0.9, 1.1)
    formants = np.ones_like(partial_hz)
    for centre_hz, gain in zip(sound.formants_hz, sound.formant_gains, strict=True):
        octaves = np.log2(partial_hz / (centre_hz * shift)) / sound.formant_octaves
        formants += gain * np.exp(-0.5 * octaves * octaves)
    audible = partial_hz < 0.45 * SAMPLE_RATE_HZ
    weights = (gains[:, None] * formants * audible).astype(np.float32)
    cycles = np.cumsum(pitch_hz / SAMPLE_RATE_HZ)
    out = np.zeros(len(note), np.float32)
    for ratio, start, weight in zip(ratios, draws.array(len(ratios)), weights, strict=True):
        if weight.any():
            phase = cycles * ratio + start
            phase -= np.floor(phase)
            out += weight[note] * np.sin(np.float32(2 * np.pi) * phase.astype(np.float32))
    return out


def _spectrum_hz(num_samples: int) -> Float32:
    """Return the frequencies of a spectrum in hertz, at least 30 so that logarithms exist."""
    hz = np.fft.rfftfreq(num_samples, 1.0 / SAMPLE_RATE_HZ)
    return np.maximum(hz, 30.0).astype(np.float32)


def _coloured_noise(draws: Draws, colour: Float32, num_samples: int) -> Float32:
    """Return noise of unit loudness with an amplitude spectrum ``[num_samples // 2 + 1]``."""
    real, imaginary = draws.noise(2, len(colour))
    noise: Float32 = fft.irfft((real + 1j * imaginary) * colour, num_samples)
    return noise / np.sqrt(np.mean(noise * noise) + np.float32(1e-12))


def _breath(sound: Sound, draws: Draws, num_samples: int, pitch_hz: float) -> Float32:
    """Return the noise of breath, bow or stick: a band above the pitch."""
    if sound.noise_gain == 0.0:
        return np.zeros(num_samples, np.float32)
    centre_hz = min(pitch_hz * 2.0**sound.noise_octaves, 0.4 * SAMPLE_RATE_HZ)
    octaves = np.log2(_spectrum_hz(num_samples) / np.float32(centre_hz))
    band = np.exp(-0.5 * (octaves / 0.5) ** 2)
    return np.float32(sound.noise_gain) * _coloured_noise(draws, band, num_samples)


def render_background(settings: Settings, draws: Draws, num_samples: int) -> Float32:
    """Render coloured noise with slow swells, root mean square 1, ``[num_samples]``."""
    hz = _spectrum_hz(num_samples)
    colour = hz ** np.float32(-draws.uniform(*settings.noise_slope))
    hum_hz = np.float32(draws.log_uniform(100.0, 4000.0))
    colour *= 1.0 + 3.0 * np.exp(-0.5 * (np.log2(hz / hum_hz) / 0.5) ** 2)
    noise = _coloured_noise(draws, colour, num_samples)
    swell_hz, phase = draws.uniform(0.2, 2.0), draws.uniform(0.0, 6.28)
    times = np.arange(num_samples, dtype=np.float32) / SAMPLE_RATE_HZ
    noise *= 1.0 + draws.uniform(0.0, 0.5) * np.sin(2 * math.pi * swell_hz * times + phase)
    return noise


def _room(settings: Settings, draws: Draws, num_samples: int) -> Float32:
    """Return the response of room and microphone: a tilt and some broad peaks and dips."""
    octaves = np.log2(_spectrum_hz(num_samples) / 1000.0)
    level_db = draws.uniform(-1.0, 1.0) * settings.tilt_db * octaves
    for centre in draws.array(settings.num_peaks, low=-3.5, high=3.0):
        width, height = draws.uniform(0.3, 0.8), draws.uniform(-1.0, 1.0) * settings.peak_db
        level_db += height * np.exp(-0.5 * ((octaves - centre) / width) ** 2)
    response: Float32 = np.exp2(level_db / 6.02).astype(np.float32)
    return response


def mix(
    sources: list[Float32],
    bystander: Float32 | None,
    is_drowned: bool,
    settings: Settings,
    draws: Draws,
    num_samples: int,
) -> NDArray[np.int16]:
    """Mix sources, bystander and noise, with the response and level of a random microphone.

    Args:
        sources: Labelled (or misleading) sources with unit loudness, each ``[num_samples]``.
        bystander: Audio of a class that is never learned, or None.
        is_drowned: Whether to mix the sources 35 dB below the noise.
        settings: The recording conditions.
        draws: The clip's stream.
        num_samples: Length in samples.

    Returns:
        Mono samples, ``[num_samples]``.
    """
    snr_db = draws.uniform(*settings.snr_db)
    noise_gain = 10.0 ** (-snr_db / 20.0)
    total = render_background(settings, draws, num_samples) * np.float32(noise_gain)
    for source in sources:
        gain = 10.0 ** (draws.uniform(-2.0, 2.0) / 20.0)
        if is_drowned:
            gain = noise_gain * 10.0 ** (_DROWNED_DB / 20.0)
        total += np.float32(gain) * source
    if bystander is not None:
        total += np.float32(10.0 ** (draws.uniform(-12.0, -6.0) / 20.0)) * bystander
    total = fft.irfft(fft.rfft(total) * _room(settings, draws, num_samples), num_samples)
    peak_db = draws.uniform(-16.0, -1.0)
    total *= np.float32(32767.0 * 10.0 ** (peak_db / 20.0)) / (np.max(np.abs(total)) + 1e-9)
    levels: NDArray[np.int16] = np.round(total).astype(np.int16)
    return levels
