"""The voice of the demo faces: source-filter speech of random words, and the matching mouth.

A clip is a seeded sequence of invented words. Each phone has formants, voicing and friction, and a target for
the lips. Both are smoothed over neighbouring phones (coarticulation), so audio and lips are in sync within a
frame. Training and test words share phones, but no word.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from gavn.audio.rates import FRAME_RATE, SAMPLE_RATE
from gavn.experiments.synthetic.motion import Mouth

WORDS = {
    'train': ('mama', 'banana', 'lemon', 'sofa', 'tomato', 'panda', 'wagon', 'kilo', 'Salut', 'fila', 'neto',
              'robu', 'usami', 'vela', 'peda', 'jogi', 'mupi', 'tawo', 'base', 'oSan', 'diwa', 'gefu',
              'lavim'),
    'test': ('papa', 'melona', 'fatima', 'sabo', 'roka', 'visu', 'Samo', 'pulan', 'dotawe', 'jemi', 'galo',
             'efuno'),
}
STEPS = 1000  # per second: the rate of slow parameters
BURST = 14  # milliseconds of friction when a stop opens
LOUDNESS = 1300  # of the voice, and of friction below, in int16 units
HISS_LOUDNESS = 900
ROOM = 6  # standard deviation of the background noise
HISS = {'s': (4300, 7600), 'S': (1900, 5200), 'f': (700, 7600)}  # friction bands, Hz


@dataclass(frozen=True)
class Phoneme:
    """One phone: its acoustics and the target of the lips."""

    formants: tuple[float, float, float]  # Hz
    voice: float  # level of the voice
    lips: Mouth
    hiss: str = ''  # friction band
    noise: float = 0.0  # level of friction
    length: float = 80.0  # milliseconds
    hold: float = 1.0  # weight of its lip target against those of its neighbours
    burst: bool = False  # friction only during the opening


def _vowel(f1: float, f2: float, f3: float, **lips: float) -> Phoneme:
    return Phoneme((f1, f2, f3), 1.0, Mouth(**lips), length=130)


PHONES = {
    'a': _vowel(760, 1200, 2450, opening=0.92),
    'e': _vowel(540, 1850, 2500, opening=0.55, width=0.5, teeth=0.2),
    'i': _vowel(280, 2250, 2900, opening=0.26, width=0.9, teeth=0.5),
    'o': _vowel(500, 880, 2400, opening=0.50, rounding=0.75),
    'u': _vowel(300, 800, 2250, opening=0.20, rounding=1.0),
    'm': Phoneme((250, 1050, 2200), 0.40, Mouth(press=0.7), hold=5, length=85),
    'n': Phoneme((260, 1600, 2500), 0.40, Mouth(opening=0.14, teeth=0.2), length=75),
    'l': Phoneme((370, 1300, 2850), 0.60, Mouth(opening=0.26), length=75),
    'r': Phoneme((340, 1150, 1650), 0.60, Mouth(opening=0.22, rounding=0.5), length=75),
    'w': Phoneme((300, 680, 2200), 0.55, Mouth(opening=0.10, rounding=1.0), hold=2),
    'j': Phoneme((270, 2250, 3000), 0.55, Mouth(opening=0.18, width=0.6, teeth=0.4), length=70),
    'b': Phoneme((220, 900, 2200), 0.10, Mouth(press=0.9), 'f', 0.35, 85, 6, True),
    'p': Phoneme((300, 900, 2200), 0.00, Mouth(press=1.0), 'f', 0.60, 95, 6, True),
    'd': Phoneme((250, 1700, 2600), 0.10, Mouth(opening=0.14, teeth=0.4), 's', 0.40, 75, 2, True),
    't': Phoneme((300, 1700, 2600), 0.00, Mouth(opening=0.12, teeth=0.4), 's', 0.80, 85, 2, True),
    'g': Phoneme((250, 1900, 2300), 0.10, Mouth(opening=0.24, teeth=0.2), 'S', 0.40, 75, 1.5, True),
    'k': Phoneme((300, 1900, 2300), 0.00, Mouth(opening=0.24, teeth=0.2), 'S', 0.80, 85, 1.5, True),
    's': Phoneme((320, 1700, 2600), 0.00, Mouth(opening=0.08, width=0.5, teeth=0.95), 's', 1.00, 110, 2.5),
    'S': Phoneme((320, 1600, 2500), 0.00, Mouth(opening=0.13, rounding=0.7, teeth=0.85), 'S', 1.00, 110, 2.5),
    'f': Phoneme((320, 1100, 2300), 0.00, Mouth(opening=0.02, teeth=0.7), 'f', 0.55, 100, 3),
    'v': Phoneme((260, 1100, 2300), 0.35, Mouth(opening=0.02, teeth=0.6), 'f', 0.25, 80, 3),
    '_': Phoneme((480, 1400, 2450), 0.00, Mouth(), length=170),
}


@dataclass(frozen=True)
class Speech:
    """Speech of a clip.

    `audio` is int16 at 16 kHz. There is one `Mouth` and one `stress` (loudness in [0, 1]) at the middle of
    every video frame.
    """

    audio: np.ndarray
    mouths: tuple[Mouth, ...]
    stress: np.ndarray


@dataclass
class _Script:
    """Phones in order, with lengths in milliseconds and stress, cut to `steps` steps."""

    steps: int
    phones: list[Phoneme] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    loud: list[float] = field(default_factory=list)

    def say(self, symbol: str, length: float, loud: float) -> None:
        """Appends a phone."""
        self.phones.append(PHONES[symbol])
        self.lengths.append(round(length))
        self.loud.append(loud)

    def track(self, values: Sequence[float], smooth: float = 0.0) -> np.ndarray:
        """One value per phone, over time (steps,), smoothed by a bell of `smooth` milliseconds."""
        track = np.repeat(np.asarray(values, float), self.lengths)[:self.steps]
        return gaussian_filter1d(track, smooth) if smooth else track


def _write(draw: np.random.Generator, words: str, seconds: float) -> _Script:
    """Random words and pauses, a little longer than the clip."""
    if words not in WORDS:
        raise ValueError(f'words must be one of {", ".join(WORDS)}, not {words!r}')
    script = _Script(round(seconds * STEPS))
    script.say('_', draw.uniform(40, 200), 0.0)
    pace = draw.uniform(0.85, 1.15)
    while sum(script.lengths) < script.steps + 200:
        loud = draw.uniform(0.3, 1.0)
        for symbol in str(draw.choice(WORDS[words])):
            script.say(symbol, PHONES[symbol].length * pace * draw.uniform(0.85, 1.2), loud)
        if draw.random() < 0.45:
            script.say('_', draw.uniform(90, 320), 0.0)
    return script


def speak(draw: np.random.Generator, words: str, seconds: float, pitch: float, tract: float) -> Speech:
    """Synthesises `seconds` of speech with a `pitch` in Hz and formants scaled by `tract`.

    Raises:
        ValueError: `words` is neither 'train' nor 'test'.
    """
    script = _write(draw, words, seconds)
    stress = script.track(script.loud, 45)
    audio = _voiced(draw, script, stress, pitch, tract) + _friction(draw, script, stress)
    audio = np.clip(np.round(audio + draw.normal(0, ROOM, audio.size)), -32768, 32767).astype(np.int16)
    middles = ((np.arange(round(seconds * FRAME_RATE)) + 0.5) * STEPS / FRAME_RATE).astype(int)
    lips = {name: track[middles].tolist() for name, track in _lips(script, stress).items()}
    mouths = tuple(Mouth(*state) for state in zip(*lips.values(), strict=True))
    return Speech(audio, mouths, stress[middles])


def _lips(script: _Script, stress: np.ndarray) -> dict[str, np.ndarray]:
    """The mouth over time: average of the targets, weighted by `hold`."""
    hold = script.track([phone.hold for phone in script.phones])
    weight = gaussian_filter1d(hold, 24)
    tracks = {}
    for part in fields(Mouth):
        target = script.track([getattr(phone.lips, part.name) for phone in script.phones])
        tracks[part.name] = gaussian_filter1d(target * hold, 24) / weight
    tracks['opening'] = tracks['opening'] * (0.72 + 0.45 * stress)
    return tracks


def _voiced(draw: np.random.Generator, script: _Script, stress: np.ndarray, pitch: float, tract: float
            ) -> np.ndarray:
    """Harmonics of a gliding pitch, filtered by five formants."""
    steps = np.arange(script.steps)
    times = np.arange(script.steps * SAMPLE_RATE // STEPS) * STEPS / SAMPLE_RATE
    wander = gaussian_filter1d(draw.standard_normal(script.steps), 120) * 20
    melody = pitch * (0.95 + 0.14 * stress + 0.05 * wander)
    phase = 2 * np.pi * np.cumsum(np.interp(times, steps, melody)) / SAMPLE_RATE
    coarse = slice(None, None, 5)
    level = (script.track([phone.voice for phone in script.phones], 9) * (0.5 + 0.6 * stress))[coarse]
    resonances: list[tuple[float | np.ndarray, float]] = [  # centre and half width in Hz
        (3500 * tract, 180.0), (4500 * tract, 250.0)]
    for k in range(3):
        formant = tract * script.track([phone.formants[k] for phone in script.phones], 16)
        resonances.append((formant[coarse], 70.0 + 25 * k))
    audio = np.zeros(times.size)
    for harmonic in range(1, int(7000 / pitch)):
        hertz = harmonic * melody[coarse]
        gain = level * np.clip((7600 - hertz) / 500, 0, 1) / harmonic
        for centre, width in resonances:
            gain = gain * centre**2 / np.hypot(centre**2 - hertz**2, 2 * width * hertz)
        audio += np.interp(times, steps[coarse], gain) * np.cos(harmonic * phase)
    return LOUDNESS * audio


def _friction(draw: np.random.Generator, script: _Script, stress: np.ndarray) -> np.ndarray:
    """Band noise of fricatives, and of stops during their opening."""
    left = script.track(np.cumsum(script.lengths).tolist()) - np.arange(script.steps)
    sounding = np.where(script.track([phone.burst for phone in script.phones]) > 0, left < BURST, 1.0)
    audio = np.zeros(script.steps * SAMPLE_RATE // STEPS)
    for name, band in HISS.items():
        level = script.track([phone.noise * (phone.hiss == name) for phone in script.phones]) * sounding
        level = gaussian_filter1d(level, 5) * (0.5 + 0.6 * stress)
        filters = butter(3, band, 'bandpass', fs=SAMPLE_RATE, output='sos')
        noise = sosfilt(filters, draw.standard_normal(audio.size))
        audio += HISS_LOUDNESS * noise * np.repeat(level, SAMPLE_RATE // STEPS)
    return audio
