"""`gavn train`: the same as `python gavn/train.py`."""
from functools import partial

from gavn.cli import pipeline

add_arguments = partial(pipeline.add_arguments, 'gavn.train')
