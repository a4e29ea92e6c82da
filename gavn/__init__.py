"""GAVN: audio-assisted restoration of talking-face video, as a BasicSR plugin."""
from gavn import compat  # noqa: F401  (makes basicsr importable; must come first)

__version__ = '0.1.0'
