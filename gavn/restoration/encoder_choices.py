"""Choices of the video encoder. This module imports nothing, so that the command line starts fast."""

PRESETS = ('ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow')
CODECS = ('libx264', 'libx265')
PIX_FMTS = ('yuv420p',)
LARGEST_CRF = 51
