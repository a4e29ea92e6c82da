"""Data sets and models of a run: what is wrong with their options is told in words."""
from __future__ import annotations

from typing import Any

import basicsr.data
import basicsr.models
from basicsr.models.base_model import BaseModel
from torch.utils.data import Dataset

from gavn.utils.option_file import building


def build_dataset(dataset_opt: dict[str, Any]) -> Dataset:
    """The data set of a section. Raises OptionError with its name for wrong options and absent data."""
    with building(f'data set {dataset_opt["name"]}'):
        return basicsr.data.build_dataset(dataset_opt)


def build_model(opt: dict[str, Any]) -> BaseModel:
    """The model with its networks. Raises OptionError for options that do not fit together."""
    with building(opt['model_type']):
        return basicsr.models.build_model(opt)
