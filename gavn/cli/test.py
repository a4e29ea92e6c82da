"""`gavn test`: the same as `python gavn/test.py`."""
from functools import partial

from gavn.cli import pipeline

add_arguments = partial(pipeline.add_arguments, 'gavn.test')
