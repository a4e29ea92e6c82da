"""Fits the classifier of `gavn.restoration.degradation` and its thresholds."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gavn.experiments.release.classifier_features import SampleFeatures
from gavn.restoration.degradation import KINDS, DegradationClassifier

HIDDEN = 24
RIDGE = 3.  # half the penalty on squared weights, in log-likelihood of samples
FOLDS = 5
PRECISION = {'clean': 0.86, 'compression': 0.8, 'deblur': 0.95, 'sr': 0.95}
"""Required share of right decisions per kind. The weights `deblur` and `sr` cost up to 19 dB on faces with
another degradation. The weights `compression` are trained on calls and clean faces too: at most 0.6 dB."""
LOWEST = {'deblur': 0.9, 'sr': 0.9}  # thresholds of these kinds are at least that
THRESHOLDS = tuple(np.arange(0.5, 0.96, 0.05).round(2).tolist())


def fit_with_thresholds(samples: Sequence[SampleFeatures], speakers: Mapping[str, str]
                        ) -> tuple[DegradationClassifier, str]:
    """Fits a model, and chooses its thresholds on held-out speakers.

    Args:
        samples: for training; those between two kinds are not used.
        speakers: of each clip.

    Returns:
        The model, and a report of its decisions on held-out speakers.
    """
    known = [(sample, sample.kind) for sample in samples if sample.kind]
    features, kinds = np.stack([sample.features for sample, _ in known]), [kind for _, kind in known]
    shares = held_out(features, kinds, [speakers[sample.clip] for sample, _ in known])
    chosen = raise_thresholds(thresholds(shares, kinds, PRECISION))
    model = replace(fit(features, kinds), thresholds=chosen)
    table = _confusion(kinds, [model.decide(share) for share in shares])
    return model, f'{len(known)} samples, thresholds {chosen}; decisions on held-out speakers:\n{table}'


def decision_table(samples: Sequence[SampleFeatures], model: DegradationClassifier) -> str:
    """Returns a table of a model's decisions by layer or recipe and true kind."""
    shares = model.probabilities(np.stack([sample.features for sample in samples]))
    names = [f'{sample.name} ({sample.kind or "between"})' for sample in samples]
    return _confusion(names, [model.decide(share) for share in shares])


def _confusion(truth: Sequence[str], decided: Sequence[str]) -> str:
    """Rows of truths, columns of decisions."""
    counts = Counter(zip(truth, decided, strict=True))
    lines = [f'{"":28}' + ''.join(f'{kind:>13}' for kind in KINDS)]
    lines += [f'{name:28}' + ''.join(f'{counts[name, kind] or ".":>13}' for kind in KINDS)
              for name in dict.fromkeys(truth)]
    return '\n'.join(lines)


def fit(features: np.ndarray, kinds: Sequence[str]) -> DegradationClassifier:
    """Fits a model without thresholds.

    Args:
        features: (n, f), of samples.
        kinds: their true kinds. All of KINDS must occur; they have equal weight.
    """
    truth = np.array([KINDS.index(kind) for kind in kinds])
    often = np.bincount(truth, minlength=len(KINDS))
    if not often.all():
        raise ValueError(f'no samples of {", ".join(k for k, n in zip(KINDS, often, strict=True) if not n)}')
    scale, draw, count = features.std(0), np.random.default_rng(0), features.shape[1]
    model = DegradationClassifier(features.mean(0), np.where(scale > 1e-6, scale, 1.),
                                  draw.normal(0, count ** -0.5, (1 + count, HIDDEN)),
                                  draw.normal(0, 0.1, (1 + HIDDEN, len(KINDS))), {})
    return _descended(model, features, np.eye(len(KINDS))[truth], len(truth) / len(KINDS) / often)


def _descended(model: DegradationClassifier, features: np.ndarray, target: np.ndarray, weight: np.ndarray
               ) -> DegradationClassifier:
    """Minimises the penalised cross-entropy from a model.

    Args:
        model: the start.
        features: (n, f).
        target: (n, kinds), 1 at the true kind.
        weight: (kinds,), of a sample of each kind.
    """
    inputs, weighted = torch.from_numpy(model.inputs(features)), torch.from_numpy(target * weight)
    hidden, output = (torch.from_numpy(part.copy()).requires_grad_() for part in (model.hidden, model.output))
    optimizer = torch.optim.LBFGS([hidden, output], max_iter=300, line_search_fn='strong_wolfe')

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = output[0] + torch.tanh(inputs @ hidden) @ output[1:]
        penalty = RIDGE / 2 * (hidden[1:].square().sum() + output[1:].square().sum())  # biases are free
        value = penalty - (weighted * scores.log_softmax(1)).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return replace(model, hidden=hidden.detach().numpy(), output=output.detach().numpy())


def held_out(features: np.ndarray, kinds: Sequence[str], groups: Sequence[str]) -> np.ndarray:
    """Probabilities (n, kinds) of samples by models trained without their group (speaker)."""
    names = sorted(set(groups))
    order = np.random.default_rng(0).permutation(len(names))
    fold = {names[index]: place % FOLDS for place, index in enumerate(order)}
    folds, labels = np.array([fold[group] for group in groups]), np.array(kinds)
    shares = np.empty((len(kinds), len(KINDS)))
    for number in range(FOLDS):
        out = folds == number
        shares[out] = fit(features[~out], labels[~out].tolist()).probabilities(features[out])
    return shares


def raise_thresholds(chosen: dict[str, float]) -> dict[str, float]:
    """Raises thresholds to those in LOWEST."""
    return {kind: max(least, LOWEST.get(kind, 0)) for kind, least in chosen.items()}


def thresholds(shares: np.ndarray, kinds: Sequence[str], precision: dict[str, float]) -> dict[str, float]:
    """The lowest of THRESHOLDS for each kind with enough right verdicts; above 1 for never.

    Args:
        shares: (n, kinds), as `held_out` returns them.
        kinds: the true ones.
        precision: required share of right verdicts, for each kind that needs a threshold.
    """
    chosen, truth = shares.argmax(1), np.array(kinds)

    def suffices(kind: str, least: float) -> bool:
        column = KINDS.index(kind)
        said = (chosen == column) & (shares[:, column] >= least)
        return bool(said.any() and (truth[said] == kind).mean() >= precision[kind])

    return {kind: next((least for least in THRESHOLDS if suffices(kind, least)), 1.01) for kind in precision}
