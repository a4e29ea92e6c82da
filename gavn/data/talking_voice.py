"""The voice of the demo faces: source-filter speech from random words, and the mouth that belongs to it.

A clip is a seeded sequence of invented words. Each sound of a word has formants, voicing and friction for the ear and a target
for the lips; both are smoothed with the overlap of neighbouring sounds (coarticulation), so that sound and lips agree to within a
frame. The words of the training and of the test split share sounds but no word.
"""
from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from gavn.data.talking_motion import Mouth
from gavn.utils.audio import FRAME_RATE, SAMPLE_RATE

WORDS = {
    'train': ('mama', 'banana', 'lemon', 'sofa', 'tomato', 'panda', 'wagon', 'kilo', 'Salut', 'fila', 'neto', 'robu', 'usami',
              'vela', 'peda', 'jogi', 'mupi', 'tawo', 'base', 'oSan', 'diwa', 'gefu', 'lavim', 'koro'),
    'test': ('papa', 'melona', 'fatima', 'sabo', 'roka', 'visu', 'Samo', 'pulan', 'dotawe', 'jemi', 'galo', 'efuno'),
}


@dataclass(frozen=True)
class Phone:
    """One speech sound: formants in Hz, voicing and friction levels, milliseconds, lips, and how firmly it holds the lips."""

    formants: tuple[float, float, float]
    voice: float
    lips: Mouth
    hiss: str = ''
    noise: float = 0.0
    length: float = 80.0
    hold: float = 1.0
    burst: bool = False


def _vowel(f1: float, f2: float, f3: float, **lips: float) -> Phone:
    return Phone((f1, f2, f3), 1.0, Mouth(**lips), length=130)


PHONES = {
    'a': _vowel(760, 1200, 2450, opening=0.92),
    'e': _vowel(540, 1850, 2500, opening=0.55, width=0.5, teeth=0.2),
    'i': _vowel(280, 2250, 2900, opening=0.26, width=0.9, teeth=0.5),
    'o': _vowel(500, 880, 2400, opening=0.50, rounding=0.75),
    'u': _vowel(300, 800, 2250, opening=0.20, rounding=1.0),
    'm': Phone((250, 1050, 2200), 0.40, Mouth(press=0.7), hold=5, length=85),
    'n': Phone((260, 1600, 2500), 0.40, Mouth(opening=0.14, teeth=0.2, tongue=1.0), length=75),
    'l': Phone((370, 1300, 2850), 0.60, Mouth(opening=0.26, tongue=1.0), length=75),
    'r': Phone((340, 1150, 1650), 0.60, Mouth(opening=0.22, rounding=0.5), length=75),
    'w': Phone((300, 680, 2200), 0.55, Mouth(opening=0.10, rounding=1.0), hold=2, length=80),
    'j': Phone((270, 2250, 3000), 0.55, Mouth(opening=0.18, width=0.6, teeth=0.4), length=70),
    'b': Phone((220, 900, 2200), 0.10, Mouth(press=0.9), 'f', 0.35, 85, 6, True),
    'p': Phone((300, 900, 2200), 0.00, Mouth(press=1.0), 'f', 0.60, 95, 6, True),
    'd': Phone((250, 1700, 2600), 0.10, Mouth(opening=0.14, teeth=0.4, tongue=0.9), 's', 0.40, 75, 2, True),
    't': Phone((300, 1700, 2600), 0.00, Mouth(opening=0.12, teeth=0.4, tongue=0.9), 's', 0.80, 85, 2, True),
    'g': Phone((250, 1900, 2300), 0.10, Mouth(opening=0.24, teeth=0.2), 'S', 0.40, 75, 1.5, True),
    'k': Phone((300, 1900, 2300), 0.00, Mouth(opening=0.24, teeth=0.2), 'S', 0.80, 85, 1.5, True),
    's': Phone((320, 1700, 2600), 0.00, Mouth(opening=0.08, width=0.5, teeth=0.95), 's', 1.00, 110, 2.5),
    'S': Phone((320, 1600, 2500), 0.00, Mouth(opening=0.13, rounding=0.7, teeth=0.85), 'S', 1.00, 110, 2.5),
    'f': Phone((320, 1100, 2300), 0.00, Mouth(opening=0.02, teeth=0.7), 'f', 0.55, 100, 3),
    'v': Phone((260, 1100, 2300), 0.35, Mouth(opening=0.02, teeth=0.6), 'f', 0.25, 80, 3),
    '_': Phone((480, 1400, 2450), 0.00, Mouth(), length=170),
}
HISS = {'s': (4300, 7600), 'S': (1900, 5200), 'f': (700, 7600)}
RATE = 1000  # steps a second of everything that moves slowly
BURST = 14  # milliseconds of friction when a stop opens


@dataclass(frozen=True)
class Speech:
    """`audio` int16 at 16 kHz, one `Mouth` and one loudness in [0, 1] a frame, and what is said: (sound, start, end) in s."""

    audio: np.ndarray
    mouths: tuple[Mouth, ...]
    stress: np.ndarray
    phones: tuple[tuple[str, float, float], ...]


def _script(draw: np.random.Generator, words: str, seconds: float) -> list[tuple[str, float, float]]:
    """Random sounds (symbol, milliseconds, stress), words set apart by pauses, at least `seconds` long."""
    if words not in WORDS:
        raise ValueError(f'words must be one of {", ".join(WORDS)}, not {words!r}')
    script = [('_', draw.uniform(40, 200), 0.0)]
    pace = draw.uniform(0.85, 1.15)
    while sum(length for _, length, _ in script) < 1000 * seconds + 200:
        loud = draw.uniform(0.3, 1.0)
        for symbol in draw.choice(WORDS[words]):
            script.append((symbol, PHONES[symbol].length * pace * draw.uniform(0.85, 1.2), loud))
        if draw.random() < 0.45:
            script.append(('_', draw.uniform(90, 320), 0.0))
    return script


def _held(script: list[tuple[str, float, float]], values: list[float], steps: int) -> np.ndarray:
    ends = np.round(np.cumsum([length for _, length, _ in script])).astype(int)
    lengths = np.diff(np.concatenate([[0], ends]))
    return np.repeat(np.asarray(values, float), lengths)[:steps]


def _glide(values: np.ndarray, weights: np.ndarray, milliseconds: float) -> np.ndarray:
    """Weighted smoothing: a sound that holds firmly keeps its target, a loose one is drawn to its neighbours."""
    return gaussian_filter1d(values * weights, milliseconds) / gaussian_filter1d(weights, milliseconds)


def speak(draw: np.random.Generator, words: str, seconds: float, pitch: float, tract: float) -> Speech:
    """`seconds` of speech of a voice with `pitch` in Hz whose formants are `tract` times the usual ones."""
    script = _script(draw, words, seconds)
    steps = round(seconds * RATE)
    sounds = [PHONES[symbol] for symbol, _, _ in script]
    stress = gaussian_filter1d(_held(script, [loud for *_, loud in script], steps), 45)
    hold = _held(script, [sound.hold for sound in sounds], steps)
    lips = {part.name: _glide(_held(script, [getattr(sound.lips, part.name) for sound in sounds], steps), hold, 24)
            for part in fields(Mouth)}
    lips['opening'] = lips['opening'] * (0.72 + 0.45 * stress)
    audio = _voiced(draw, script, sounds, steps, stress, pitch, tract) + _friction(draw, script, sounds, steps, stress)
    audio = audio + draw.normal(0, 6, audio.size)
    middles = ((np.arange(round(seconds * FRAME_RATE)) + 0.5) * RATE / FRAME_RATE).astype(int)
    mouths = tuple(Mouth(**{name: float(track[i]) for name, track in lips.items()}) for i in middles)
    ends = np.cumsum([length for _, length, _ in script]) / 1000
    phones = tuple((symbol, float(end - length / 1000), float(end)) for (symbol, length, _), end in zip(script, ends, strict=True)
                   if end - length / 1000 < seconds)
    return Speech(np.clip(np.round(audio), -32768, 32767).astype(np.int16), mouths, stress[middles], phones)


def _voiced(draw: np.random.Generator, script: list, sounds: list[Phone], steps: int, stress: np.ndarray, pitch: float,
            tract: float) -> np.ndarray:
    """Sum of harmonics under the formants' resonances."""
    times = np.arange(steps * SAMPLE_RATE // RATE) * RATE / SAMPLE_RATE
    wander = gaussian_filter1d(draw.standard_normal(steps), 120) * np.sqrt(120) * 1.9
    melody = pitch * (0.95 + 0.14 * stress + 0.05 * wander)
    phase = 2 * np.pi * np.cumsum(np.interp(times, np.arange(steps), melody)) / SAMPLE_RATE
    level = gaussian_filter1d(_held(script, [sound.voice for sound in sounds], steps), 9) * (0.5 + 0.6 * stress)
    tracks = [gaussian_filter1d(_held(script, [sound.formants[k] * tract for sound in sounds], steps), 16) for k in range(3)]
    coarse = slice(None, None, 5)
    resonances = [(track[coarse], 70 + 25 * k) for k, track in enumerate(tracks)] + [(3500 * tract, 180), (4500 * tract, 250)]
    audio = np.zeros(times.size)
    for harmonic in range(1, int(7000 / pitch)):
        hertz = harmonic * melody[coarse]
        gain = np.minimum(1, np.maximum(0, 7600 - hertz) / 500) / harmonic
        for centre, width in resonances:
            gain = gain * centre**2 / np.hypot(centre**2 - hertz**2, 2 * width * hertz)
        audio += np.interp(times, np.arange(steps)[coarse], gain * level[coarse]) * np.cos(harmonic * phase)
    return 1300 * audio


def _friction(draw: np.random.Generator, script: list, sounds: list[Phone], steps: int, stress: np.ndarray) -> np.ndarray:
    """Band noise of fricatives, and of stops only while they open."""
    per_step = SAMPLE_RATE // RATE
    audio = np.zeros(steps * per_step)
    left = _held(script, [length for _, length, _ in script], steps)
    left = left - (np.arange(steps) - _held(script, list(np.cumsum([0, *(length for _, length, _ in script[:-1])])), steps))
    open_now = np.where(_held(script, [sound.burst for sound in sounds], steps) > 0, left < BURST, 1.0)
    for name, (low, high) in HISS.items():
        level = _held(script, [sound.noise * (sound.hiss == name) for sound in sounds], steps) * open_now
        level = gaussian_filter1d(level, 5) * (0.5 + 0.6 * stress)
        noise = sosfilt(butter(3, (low, high), 'bandpass', fs=SAMPLE_RATE, output='sos'), draw.standard_normal(audio.size))
        audio += 900 * noise * np.repeat(level, per_step)
    return audio
