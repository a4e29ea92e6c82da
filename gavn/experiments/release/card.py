"""Pretrained weights of the package: their bundles, and their cards with training, gains and limits."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from gavn.checkpoints import pretrained
from gavn.config.option_file import read_options
from gavn.experiments.release.measure import FIGURES, RESULTS
from gavn.metrics.results_file import DEGRADED, MEAN, ResultRow, read_results
from gavn.metrics.table import COLUMNS
from gavn.models.cost import parameters
from gavn.restoration.restorer import Restorer
from gavn.runtime.files import sha256, write_text

DEGRADATIONS = {
    'car_crf45': 'H.264 at CRF 45', 'blur': 'Gaussian blur of 15 to 25 pixels',
    'sr_x4': 'fourfold reduction', 'sr': 'two- to eightfold reduction',
    'call': 'video calls and downloads', 'mixed': 'a mixture', 'mixed_v1': 'another mixture',
    'clean': 'none, stored at CRF 18', 'blur_stored': 'the blur, stored at CRF 18',
    'sr_stored': 'the fourfold reduction, stored at CRF 18'}
FAILURES = {
    'mixed': 'It is trained on every kind of degradation, and gains less on each than the weights for it.',
    'compression': 'It does not sharpen videos that are blurred or small beside compressed: take `mixed`.',
    'deblur': 'Blur that was stored at CRF 30 or worse stays nearly as it is: take `mixed`, as `auto` '
              'does. It never saw motion blur.',
    'sr': 'It learned small videos that were stored at CRF 23 or better: take `mixed` for others. SPAN acts '
          'on exact bicubic enlargements by 4 alone, as benchmarks have them.'}
_DATA = '76 clips (12 minutes) of 62 speakers'
TRAINING = {
    'mixed': (_DATA, 'It continues from 5,000 iterations of options/pretrained/train_gavn_start.yml, 2,600 '
                     'of this mixture, 13,500 with a third of its share of low resolution, and 12,000 of it '
                     'again, all with alignment; then 10,500 without it, on crops of 64 pixels. The weights '
                     'are 0.35 of the result and 0.65 of those that it started from, which do less to good '
                     'videos.'),
    'compression': ('77 clips (12 minutes) of 63 speakers',
                    'It continues from 8,000 iterations of options/pretrained/train_gavn_start.yml and 6,000 '
                    'of this mixture on crops of 64 pixels, both with alignment.'),
    'deblur': (_DATA, 'It continues from `mixed` as it was after 19,100 iterations, and 8,000 iterations '
                      'without stored blur and 7,500 with it, all with alignment; then 55,000 without it, on '
                      'crops of 96 pixels.'),
    'sr': (_DATA, 'It continues from 5,000 iterations of options/pretrained/train_gavn_start.yml, 2,600 of '
                  'the mixture and 8,000 of low resolution, all with alignment, and 12,000 without it. SPAN '
                  'has the weights of its authors (Apache-2.0), unchanged.')}
"""Name -> training data, and initial weights."""


def write_card(name: str) -> Path:
    """The card of weights, from their header and the results file."""
    path = pretrained.weights_of(name)
    restorer = Restorer.load(path, device='cpu')
    counts = {key: parameters(network) for key, network in restorer.networks.items()}
    rows = read_results(pretrained.FOLDER / RESULTS)
    clips = {row.clip: row.frames for row in rows if row.is_clip and row.run.method == name}
    ends = min(clips.values()), max(clips.values())
    data, start = TRAINING[name]
    text = Path(__file__).with_name('card.txt').read_text(encoding='utf-8').format(
        name=name, what=pretrained.WHAT[name], generator=counts['network_g'], detector=counts['network_l'],
        width=restorer.spec.networks['network_g']['num_feat'], data=data, start=start,
        **restorer.budget, clips=len(clips), frames=' to '.join(dict.fromkeys(map(str, ends))),
        failure=FAILURES[name],
        table=table(rows, [name]))
    card = path.with_suffix('.md')
    card.write_text(text, encoding='utf-8')
    return card


def table(rows: Sequence[ResultRow], methods: Sequence[str], figures: Sequence[str] = FIGURES) -> str:
    """Means over clips in Markdown: a line per degradation, with the input and each method."""
    means = {(row.run.degradation, row.run.method): row.values for row in rows if row.clip == MEAN}
    columns = [(figure, method) for figure in figures for method in (DEGRADED, *methods)]
    heads = [f'{"input" if method == DEGRADED else f"`{method}`"} {COLUMNS[figure].title}'
             for figure, method in columns]
    lines = ['| degradation | ' + ' | '.join(heads) + ' |', '|' + '---|' * (len(heads) + 1)]
    for layer in dict.fromkeys(layer for layer, method in means if method in methods):
        values = [(figure, means.get((layer, method), {}).get(figure)) for figure, method in columns]
        cells = ['' if value is None else f'{value:.{COLUMNS[figure].decimals}f}' for figure, value in values]
        lines.append(f'| {DEGRADATIONS[layer]} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def bundle(name: str, opt_path: str | Path) -> Path:
    """Bundles what a training made, in 16 bits, with its options; returns the bundle.

    Args:
        name: of `pretrained.WHAT`.
        opt_path: the option file of the training, whose experiment stands under the current folder.

    Raises what `Restorer.from_options` does, and ValueError for another name.
    """
    if name not in pretrained.WHAT:
        raise ValueError(f'{name} is not one of {", ".join(pretrained.WHAT)}')
    target = pretrained.FOLDER / f'{name}.safetensors'
    Restorer.from_options(opt_path, device='cpu').save(target, half=True)
    options, _ = read_options(opt_path)
    header = f'# The options that made {target.name}, merged from {Path(opt_path).as_posix()}.\n'
    write_text(target.with_suffix('.yml'), header + yaml.safe_dump(options, sort_keys=False))
    sums = [f'{sha256(path)}  {path.name}\n' for path in sorted(pretrained.FOLDER.glob('*.safetensors'))]
    write_text(pretrained.FOLDER / pretrained.SUMS, ''.join(sums))
    return target
