"""Draws docs/architecture.svg: the two journeys, and the packages in layers."""
from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).resolve().parents[1] / 'docs/architecture.svg'
WIDTH, MARGIN, HEIGHT, GAP = 960, 20, 40, 12
JOURNEYS = (
    ('Training', '#1f6f43', (
        ('videos', 'raw files'), ('data.preparation', 'crops, labels'), ('LMDB', 'data set folder'),
        ('AVClipDataset', 'training windows'), ('GAVNModel', 'phases, losses'), ('GAVN', 'network'),
        ('metrics', 'CSV of results'), ('experiments', 'tables, figures'))),
    ('Restoring', '#1d4f91', (
        ('media.video_reader', 'decoded frames'), ('faces.tracker', 'boxes'), ('faces.geometry', 'crop'),
        ('Restorer', 'landmarks, network'), ('faces.geometry', 'paste'), ('media.segments', 'encoded parts'),
        ('media.mux', 'audio, subtitles'), ('restoration.report', 'JSON'))),
)
LAYERS = (
    ('Commands', ('cli', 'inference/', 'scripts/')),
    ('Experiments', ('experiments',)),
    ('Product', ('web', 'restoration')),
    ('BasicSR plugin',
     ('basicsr_patches', 'models', 'data', 'metrics', 'losses', 'archs', 'ops')),
    ('Shared', ('faces', 'media', 'audio', 'checkpoints', 'config', 'runtime', 'errors')),
)
LABEL = 110


def box(x: float, y: float, width: float, lines: tuple[str, ...], colour: str) -> str:
    """A rounded box with one or two centred lines."""
    middle, first = x + width / 2, y + HEIGHT / 2 + 4 - 7 * (len(lines) - 1)
    text = ''.join(f'<text x="{middle:g}" y="{first + 15 * index:g}" text-anchor="middle"'
                   f' fill="{(colour, "#555")[index]}" font-size="{(12, 10)[index]}">{escape(line)}</text>'
                   for index, line in enumerate(lines))
    return (f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{HEIGHT}" rx="6" fill="white"'
            f' stroke="{colour}"/>{text}')


def journey(y: float, name: str, colour: str, steps: tuple[tuple[str, str], ...]) -> str:
    """One row of boxes with arrows between them."""
    width = (WIDTH - 2 * MARGIN - GAP * (len(steps) - 1)) / len(steps)
    parts = [f'<text x="{MARGIN}" y="{y - 8}" font-weight="bold" fill="{colour}">{name}</text>']
    for index, step in enumerate(steps):
        x = MARGIN + index * (width + GAP)
        parts.append(box(x, y, width, step, colour))
        if index:
            middle = y + HEIGHT / 2
            parts.append(f'<path d="M{x - GAP:g} {middle:g}h{GAP - 5}" stroke="{colour}"/>'
                         f'<path d="M{x - 6:g} {middle - 4:g}l6 4l-6 4z" fill="{colour}"/>')
    return '\n'.join(parts)


def layer(y: float, name: str, packages: tuple[str, ...]) -> str:
    """A labelled band with one box for each package."""
    left, band = MARGIN + LABEL, WIDTH - 2 * MARGIN
    width = (WIDTH - MARGIN - left - GAP) / len(packages) - GAP
    parts = [f'<rect x="{MARGIN}" y="{y:g}" width="{band}" height="{HEIGHT + 16}" rx="6" fill="#f2f4f7"/>',
             f'<text x="{MARGIN + 12}" y="{y + HEIGHT / 2 + 12:g}" font-weight="bold" fill="#333">'
             f'{name}</text>']
    parts += [box(left + GAP + index * (width + GAP), y + 8, width, (package,), '#333')
              for index, package in enumerate(packages)]
    return '\n'.join(parts)


def draw() -> str:
    """The image as SVG."""
    parts, y = [], 40
    for row in JOURNEYS:
        parts.append(journey(y, *row))
        y += HEIGHT + 44
    parts.append(f'<text x="{MARGIN}" y="{y - 8}" font-weight="bold" fill="#333">'
                 'Packages: imports point downward</text>')
    for row in LAYERS:
        parts.append(layer(y, *row))
        y += HEIGHT + 24
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}"'
            ' font-family="Helvetica, Arial, sans-serif" font-size="13" fill="none">')
    return '\n'.join([head, '<title>Architecture of gavn</title>',
                      '<rect width="100%" height="100%" fill="white"/>', *parts, '</svg>', ''])


if __name__ == '__main__':
    TARGET.write_text(draw(), encoding='utf-8')
