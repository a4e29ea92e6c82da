"""Reading the data of stock data sets: errors that say what could not be read, and test sets of any name."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import cv2
import numpy as np
from basicsr.data import data_util
from basicsr.data.video_test_dataset import VideoRecurrentTestDataset, VideoTestDataset
from basicsr.utils import img_util
from basicsr.utils.file_client import FileClient, LmdbBackend
from torch import Tensor

from gavn.errors import DataError
from gavn.runtime.lmdb_environment import open_lmdb


class MissingKey(DataError):  # noqa: N818 (it reads as what happened)
    """An LMDB has no such key; the message names both."""


class UnreadableImage(DataError):  # noqa: N818 (it reads as what happened)
    """A file or an LMDB value is no image; the message names it."""


class _Bytes(bytes):
    """Bytes that know where they were read."""

    origin: str = ''


def lmdb_init(self: LmdbBackend, db_paths: str | list[str], client_keys: str | list[str] = 'default',
              readonly: bool = True, lock: bool = False, readahead: bool = False, **settings: Any) -> None:
    """Opens the environments, one for each key; stock opens one that lq and gt share twice, and fails."""
    keys, paths = ([item] if isinstance(item, str) else item for item in (client_keys, db_paths))
    self.db_paths = [str(path) for path in paths]
    settings = {'readonly': readonly, 'lock': lock, 'readahead': readahead, **settings}
    self._client = {key: partial(open_lmdb, path, **settings)
                    for key, path in zip(keys, self.db_paths, strict=True)}
    for opened in self._client.values():
        opened()  # so that a path that is none fails here


def lmdb_get(self: LmdbBackend, filepath: str, client_key: str) -> bytes:
    """The value of a key; stock returns None for a missing one, and fails elsewhere without its name."""
    environment = self._client[client_key]()
    with environment.begin() as transaction:
        value = transaction.get(str(filepath).encode('ascii'))
    if value is None:
        raise MissingKey(f'{environment.path()} has no key {filepath!r}; pack the data set again, or '
                         'correct its meta info')
    return value


def named_bytes(stock: Callable[..., bytes]) -> Callable[..., bytes]:
    """Lets what FileClient reads know its name, for the error of whoever cannot use it."""
    @wraps(stock)
    def get(self: FileClient, filepath: str, client_key: str = 'default') -> bytes:
        content = _Bytes(stock(self, filepath, client_key))
        content.origin = f'{filepath} ({self.backend})'
        return content
    return get


def named_errors(stock: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """An imfrombytes that names what is no image; stock fails on None."""
    @wraps(stock)
    def imfrombytes(content: bytes, flag: str = 'color', float32: bool = False) -> np.ndarray:
        image = stock(content, flag, False) if len(content) else None
        if image is None:
            raise UnreadableImage(f'{getattr(content, "origin", "data")} is no readable image '
                                  f'({len(content)} bytes)')
        return image.astype(np.float32) / 255. if float32 else image
    return imfrombytes


def named_sequence(stock: Callable[..., Any]) -> Callable[..., Any]:
    """A read_img_seq that names the unreadable one of its files."""
    @wraps(stock)
    def read_img_seq(path: str | list[str], *args: Any, **kwargs: Any) -> Any:
        try:
            return stock(path, *args, **kwargs)
        except AttributeError as error:  # of None, which cv2 returns for what it cannot read
            files = path if isinstance(path, list) else sorted(entry.path for entry in os.scandir(path))
            bad = next((file for file in files if cv2.imread(file) is None), None)
            if bad is None:
                raise
            raise UnreadableImage(f'{bad} is no readable image') from error
    return read_img_seq


def any_name(stock: Callable[..., None]) -> Callable[..., None]:
    """Test sets of any name and without caching; stock knows vid4, reds4 and redsofficial."""
    @wraps(stock)
    def init(self: VideoTestDataset, opt: dict[str, Any]) -> None:
        opt = {'cache_data': False, 'io_backend': {'type': 'disk'}, 'num_frame': 1, **opt}
        stock(self, {**opt, 'name': 'REDS4'})
        self.opt = opt
    return init


def clip_on_demand(self: VideoRecurrentTestDataset, index: int) -> dict[str, Tensor | str]:
    """One clip; stock needs `cache_data`: all of them in memory, in every process."""
    folder = self.folders[index]
    lq, gt = self.imgs_lq[folder], self.imgs_gt[folder]
    if not self.cache_data:
        lq, gt = data_util.read_img_seq(lq), data_util.read_img_seq(gt)
    return {'lq': lq, 'gt': gt, 'folder': folder}


def replace_everywhere(stock: Callable[..., Any], mended: Callable[..., Any]) -> None:
    """Replaces a function in every module of basicsr that imported it by name."""
    for name, module in list(sys.modules.items()):
        if name.startswith('basicsr.') and getattr(module, stock.__name__, None) is stock:
            setattr(module, stock.__name__, mended)


def install() -> None:
    """Puts the functions of this file in the place of the stock ones."""
    if LmdbBackend.get is lmdb_get:
        return
    LmdbBackend.__init__, LmdbBackend.get = lmdb_init, lmdb_get
    FileClient.get = named_bytes(FileClient.get)
    replace_everywhere(img_util.imfrombytes, named_errors(img_util.imfrombytes))
    replace_everywhere(data_util.read_img_seq, named_sequence(data_util.read_img_seq))
    VideoTestDataset.__init__ = any_name(VideoTestDataset.__init__)
    VideoRecurrentTestDataset.__getitem__ = clip_on_demand
