"""The people of the demo data: differences from the neutral photograph, and voices."""
from __future__ import annotations

from dataclasses import dataclass

from gavn.experiments.synthetic.warp import Bump

Colour = tuple[float, float, float]  # blue, green, red


@dataclass(frozen=True)
class Identity:
    """One person of the demo: shape, colours, details and voice."""

    name: str
    shape: tuple[Bump, ...] = ()
    mirrored: bool = False
    skin: Colour = (1.0, 1.0, 1.0)  # gain
    skin_gamma: float = 1.0
    hair: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)  # gains of L*, of a*b*; shifts of a*, b*
    wall: Colour = (1.0, 1.0, 1.0)  # gain
    collar: tuple[Colour, Colour] = ((20, 20, 20), (40, 40, 40))  # of a knitted pattern
    collar_wave: tuple[float, float] = (0.0, 0.6)  # waves of the pattern across and down, radians per pixel
    lips: Colour = (120, 118, 180)
    lip_strength: float = 0.45
    brows: float = 0.3
    freckles: int = 0
    moles: tuple[tuple[float, float, float], ...] = ()  # x, y, radius
    stubble: float = 0.0
    glasses: Colour | None = None
    voice: tuple[float, float] = (190.0, 1.0)  # pitch in Hz; factor of the formant frequencies


def _shape(jaw: float = 1.0, eyes: float = 1.0, apart: float = 0.0, nose: float = 1.0, long_nose: float = 0.0,
           mouth: float = 1.0, chin: float = 0.0, brows: float = 0.0, hair: float = 1.0) -> tuple[Bump, ...]:
    """Differences between faces. Factors of 1 and shifts of 0 change nothing."""
    differences = (
        Bump((223, 160), (62, 30), scale=(jaw, 1.0)),
        Bump((221, 180), (42, 20), shift=(0, chin)),
        Bump((203, 100), (16, 11), scale=(eyes, eyes), shift=(-apart, 0)),
        Bump((248, 100), (16, 11), scale=(eyes, eyes), shift=(apart, 0)),
        Bump((224, 124), (15, 16), scale=(nose, 1.0), shift=(0, long_nose)),
        Bump((223, 146), (30, 14), scale=(mouth, 1.0)),
        Bump((204, 88), (17, 7), shift=(0, brows)),
        Bump((247, 88), (17, 7), shift=(0, brows)),
        Bump((226, 52), (95, 42), scale=(hair, hair)),
    )
    return tuple(bump for bump in differences if (bump.scale, bump.shift) != ((1, 1), (0, 0)))


_EVERYBODY = (
    Identity(
        'ada', freckles=70, moles=((241, 152, 1.3),), hair=(0.95, 1.0, 14, 10), brows=0.4,
        wall=(0.86, 0.92, 0.84), collar=((80, 95, 52), (142, 150, 120)), collar_wave=(0.0, 0.55),
        voice=(205, 1.12)),
    Identity(
        'ben', _shape(jaw=1.10, eyes=0.95, nose=1.16, chin=4, mouth=1.06, hair=0.90, brows=1.5),
        mirrored=True, skin=(0.84, 0.90, 0.97), skin_gamma=1.15, hair=(0.42, 0.30, 3, 2), brows=0.9,
        stubble=0.5, lips=(105, 105, 150), lip_strength=0.35, moles=((198, 128, 1.5),),
        wall=(0.95, 0.82, 0.70), collar=((112, 66, 42), (62, 46, 40)), collar_wave=(0.6, 0.0),
        voice=(112, 0.94)),
    Identity(
        'cleo', _shape(jaw=0.95, eyes=1.10, apart=1.0, nose=1.08, mouth=1.04, hair=1.05),
        skin=(0.50, 0.58, 0.70), skin_gamma=1.25, hair=(0.32, 0.22, 2, 1), brows=0.9,
        lips=(62, 52, 128), lip_strength=0.6, moles=((250, 128, 1.2),),
        wall=(0.72, 0.84, 0.95), collar=((52, 120, 160), (50, 62, 130)), collar_wave=(0.36, 0.36),
        voice=(178, 1.06)),
    Identity(
        'dan', _shape(jaw=1.04, eyes=0.90, apart=-1.5, nose=0.92, long_nose=2, chin=2, mouth=0.95,
                      hair=0.95),
        skin=(0.98, 0.97, 1.0), hair=(1.06, 0.12, 0, 1), brows=0.2, lip_strength=0.3, glasses=(42, 34, 30),
        wall=(0.70, 0.66, 0.72), collar=((70, 66, 128), (142, 140, 146)), collar_wave=(0.0, 0.42),
        voice=(128, 0.98)),
    Identity(
        'eva', _shape(jaw=0.92, eyes=1.06, apart=1.2, nose=0.90, chin=-2, hair=1.03, brows=-0.8),
        mirrored=True, skin=(0.93, 0.95, 1.02), hair=(0.58, 0.8, 18, 8), brows=0.6, freckles=25,
        lips=(70, 50, 190), lip_strength=0.65, moles=((205, 150, 1.1), (246, 126, 0.9)),
        wall=(0.80, 0.95, 0.92), collar=((132, 76, 124), (168, 132, 164)), collar_wave=(0.4, -0.4),
        voice=(222, 1.16)),
)
PEOPLE = {person.name: person for person in _EVERYBODY}
