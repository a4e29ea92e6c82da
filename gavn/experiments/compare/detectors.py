"""Landmark detectors of the methods: their origin, and their cost outside of the budget."""
from __future__ import annotations

from collections.abc import Sequence

from gavn.checkpoints.checkpoint import CheckpointError, training_budget
from gavn.experiments.compare.experiments import Method
from gavn.experiments.compare.settings import Settings
from gavn.runtime.project import locate


def describe(settings: Settings, methods: Sequence[Method]) -> list[str]:
    """Describes each landmark detector that some of the methods use."""
    users: dict[str, list[Method]] = {}
    for method in methods:
        if method.detects:
            users.setdefault(method.train['path']['pretrain_network_l'], []).append(method)
    maker = 'trained by this comparison' if settings.detectors else 'trained before'
    return [f'Landmark detector of {", ".join(method.title for method in methods)}: '
            f'{methods[0].train["network_l"]["type"]}, '
            f'weights `{settings.relative_path(settings.root / weights)}`, {maker}. '
            f'{_took(settings, weights)}'
            for weights, methods in users.items()]


def _took(settings: Settings, weights: str) -> str:
    """Time of its training, which is in no method's budget."""
    file = locate(weights, settings.root)
    try:
        spent = training_budget(file) if file else {}
    except CheckpointError:
        return 'What its training took is not known: the weights cannot be read.'
    names = {'iterations': '{:,.0f} iterations', 'clips_seen': '{:,.0f} clips seen', 'minutes': '{:.1f} min'}
    known = [words.format(spent[key]) for key, words in names.items() if spent.get(key) is not None]
    if not known:
        return 'What its training took is not known: its weights do not say; it is in no budget.'
    return f'Its own training took {", ".join(known)}, which is in no method\'s budget.'
