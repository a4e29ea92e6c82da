"""The card of weights that come with the package: what made them, what they gain, where they fail."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gavn.checkpoints import pretrained
from gavn.experiments.release.measure import FIGURES, RESULTS
from gavn.metrics.results_file import DEGRADED, MEAN, Row, read_results
from gavn.metrics.table import COLUMNS
from gavn.restoration.restorer import Restorer

DAMAGE = {
    'car_crf45': 'H.264 at CRF 45', 'blur': 'Gaussian blur of 15 to 25 pixels',
    'sr_x4': 'fourfold reduction', 'sr': 'two- to eightfold reduction',
    'call': 'video calls and downloads', 'mixed': 'a mixture', 'mixed_v1': 'another mixture',
    'clean': 'none, stored at CRF 18', 'blur_stored': 'the blur, stored at CRF 18',
    'sr_stored': 'the fourfold reduction, stored at CRF 18'}
FAILURES = {
    'mixed': 'It was taught all kinds of damage, and gains less on one of them than the weights for that.',
    'compression': 'Videos that are blurred or small, beside compressed, it does not sharpen: take `mixed`.',
    'deblur': 'A blurred video that went through a codec gets ripples and halos: take `mixed`, as `auto` '
              'does. Motion blur it never saw.',
    'sr': 'Compression artifacts it takes for detail and strengthens: take `mixed`.'}

def write_card(name: str) -> Path:
    """The card beside the weights, from their own header and the file of results."""
    path = pretrained.weights_of(name)
    restorer = Restorer.load(path, device='cpu')
    counts = {key: sum(value.numel() for value in network.parameters())
              for key, network in restorer.networks.items()}
    rows = read_results(pretrained.FOLDER / RESULTS)
    frames = sum(row.frames for row in rows if row.is_clip and row.run.degradation == rows[0].run.degradation
                 and row.run.method == name)
    text = Path(__file__).with_name('card.txt').read_text(encoding='utf-8').format(
        name=name, what=pretrained.WHAT[name], generator=counts['network_g'], detector=counts['network_l'],
        **restorer.budget, frames=frames, failure=FAILURES[name],
        table=table(rows, [name]))
    card = path.with_suffix('.md')
    card.write_text(text, encoding='utf-8')
    return card


def table(rows: Sequence[Row], methods: Sequence[str], figures: Sequence[str] = FIGURES) -> str:
    """Means over clips in Markdown: a line for each damage, the input and each method beside each other."""
    means = {(row.run.degradation, row.run.method): row.values for row in rows if row.clip == MEAN}
    columns = [(figure, method) for figure in figures for method in (DEGRADED, *methods)]
    heads = [f'{_title(method)} {COLUMNS[figure].title}' for figure, method in columns]
    lines = ['| damage | ' + ' | '.join(heads) + ' |', '|' + '---|' * (len(heads) + 1)]
    for layer in dict.fromkeys(layer for layer, _ in means):
        cells = [_cell(means.get((layer, method), {}), figure) for figure, method in columns]
        lines.append(f'| {DAMAGE[layer]} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _title(method: str) -> str:
    return 'input' if method == DEGRADED else f'`{method}`'


def _cell(values: Mapping[str, float | None], figure: str) -> str:
    value = values.get(figure)
    return 'n/a' if value is None else f'{value:.{COLUMNS[figure].decimals}f}'
