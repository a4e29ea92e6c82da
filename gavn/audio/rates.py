"""Sample and frame rates. This module imports nothing, so that commands can check their input quickly."""

SAMPLE_RATE = 16000  # Hz
FRAME_RATE = 25  # video frames per second in training
