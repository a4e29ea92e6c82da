"""Safe reading of weight files: without running code, and without trusting stated sizes."""
from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from gavn.errors import CheckpointError

State = dict[str, Tensor]
PathLike = str | os.PathLike[str]

HEADER = 'gavn'
"""Entry of a safetensors header with the options of a bundle as JSON."""
DAMAGED = 'it may be cut short or another kind of file: fetch or make it again'
MAX_HEADER = 1 << 20
"""Largest length of a bundle's options; those of networks have a few thousand characters."""
# Errors of torch.load for files that are not checkpoints.
_UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError,
               AssertionError, MemoryError, OverflowError, NotImplementedError, struct.error)


def read_safetensors(path: Path) -> tuple[Any, State]:
    """Returns the options in the header ({} if there are none), and all tensors.

    Raises:
        CheckpointError: the file is damaged, or its options are not JSON or larger than `MAX_HEADER`.
    """
    try:
        with safe_open(path, framework='pt') as file:
            text = (file.metadata() or {}).get(HEADER, '{}')
        if len(text) > MAX_HEADER:
            raise ValueError(f'its options are longer than {MAX_HEADER:,} characters')
        return json.loads(text, parse_constant=_no_number), load_file(path)
    except (SafetensorError, OSError, ValueError, RecursionError, KeyError) as error:
        raise CheckpointError(f'{path} is not a readable safetensors file ({_first_line(error)})\n{DAMAGED}'
                              ) from error


def _no_number(word: str) -> float:
    raise ValueError(f'{word} is no JSON')


def read_pickle(path: Path) -> Mapping[str, Any]:
    """Returns the content of a `.pth` or `.state` on the CPU. Pickled objects are refused, never executed.

    Raises:
        CheckpointError: the file is damaged, has pickled objects, claims more content than its size allows,
            or is not a mapping.
    """
    _check_archive(path)
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f'{path} is damaged or holds pickled objects, which could run code: refused\n'
                              'export its state dictionary alone (tensors by name) and give that') from error
    except _UNREADABLE as error:
        raise CheckpointError(f'{path} is not a readable checkpoint ({_first_line(error)})\n{DAMAGED}'
                              ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, not weights by name\n'
                              'export a state dictionary (tensors by name) and give that')
    return content


def _check_archive(path: Path) -> None:
    """Refuses a zip bomb by its directory; torch stores every tensor once, without compression."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise CheckpointError(f'{path} is not a readable checkpoint ({error})\n{DAMAGED}') from error
    claimed, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if claimed > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f'{path} has {size:,} bytes, but unpacks to {claimed:,}: refused\n'
                              'torch.save does not compress: load and save it again where you trust it')


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
