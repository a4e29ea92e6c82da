"""Option files of gavn 0.1 that others may still name as their `base`, and what replaces them."""
from pathlib import Path

PEERS = frozenset({'basicvsrpp', 'davdnet', 'dbpn', 'edvr', 'edvr_l', 'vrt'})
_FOLDERS = frozenset({'base', 'small', 'levels', 'ablations', 'shipped'})
_DEBLUR = '--with options/presets/small_deblur.yml'


def replacement(file: Path) -> str:
    """Says what replaces an option file of one of the removed folders of options; '' for any other path."""
    if file.parent.name not in _FOLDERS:
        return ''
    return f'; gavn 0.2 replaces this file: {_advice(file.parent.name, file.stem.split("_"))}'


def _advice(folder: str, words: list[str]) -> str:
    if folder == 'shipped':
        return f'use options/pretrained/{"_".join(words)}.yml'
    if folder == 'levels' or 'levels' in words:
        return 'give the degradations with --degradation, such as car_crf35 car_crf45'
    if folder == 'small' or 'small' in words:
        preset = f' and {_DEBLUR}' if 'deblur' in words else ''
        return f'use a file of options/ as base and add --with options/presets/small.yml{preset}'
    if folder == 'ablations':
        variant = '_'.join(words[3:])  # of KIND_gavn_TASK_VARIANT
        return f'use a file of options/ as base and add --with options/ablations/{variant}.yml'
    if words == ['test']:
        return 'use options/test_gavn_car.yml, or the test file of your method and task, as base'
    name = '_'.join(words)
    method = name if name in PEERS else 'gavn'
    return f'use options/train_{method}_car.yml, or the file of your task, as base'
