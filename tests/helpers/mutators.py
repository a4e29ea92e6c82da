"""Seeded mutators: good files in, files out that are wrong in the ways of strangers, disks and authors."""
import copy
import io
import json
import random
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import yaml

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2 ** 31, 10 ** 9, 10 ** 30, 0.5, -0.0, 1e308, float('inf'), float('-inf'),
    float('nan'), '', ' ', '.', '..', '../../x', '/etc/passwd', '~nobody/x', 'a' * 5000, 'x\ny', '\u202e',
    '~', 'null', 'auto', 'none', 'GAVN', 'VGGFeatureExtractor', 'SpyNet', 'Adam', 'cuda', [], {}, [[]],
    [None], [{}], {'': ''}, {'type': None}, {'type': 'GAVN'}, {'a': {'b': {'c': {}}}},
    [1, 'x', None, {}], list(range(50)))
ODD_LINES = ('&a [*a]', '*a', '<<: *a', '<<: 5', '? [x]', ': ', '- ', '!!int x', '!!python/object:x {}',
             '%YAML 9.9', '---', '...', '"\\ud800"', '"\\0"', '2024-13-45', '[' * 200, '{x: ' * 200,
             'base: .', 'base: x.yml', 'base: [5]', '1: 2', 'on: off', '\t- x', "'", '"', '|', '>', '@', '`',
             '!!binary x', '!!set {a}', '!!omap [a: 1]', '!!timestamp x', '0o9', '1_000', '1:99', '=', '&a',
             '!', '!<!>')


def places(tree: Any, key: tuple = ()) -> Iterator[tuple]:
    """The keys of everything in nested sections and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield (*key, name)
        yield from places(value, (*key, name))


def mutate_tree(tree: Any, draw: random.Random) -> Any:
    """A copy with one to three values replaced, removed, moved, renamed or doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.randint(1, 3)):
        found = list(places(tree))
        if not found:
            break
        *path, last = draw.choice(found)
        section = tree
        for part in path:
            section = section[part]
        _change(tree, section, last, draw)
    return tree


def _change(tree: Any, section: Any, last: Any, draw: random.Random) -> None:
    kind = draw.randrange(6)
    if kind < 3:
        section[last] = copy.deepcopy(draw.choice(ODD_VALUES))
    elif kind == 3:
        del section[last]
    elif kind == 4 and isinstance(section, dict):
        section[draw.choice([f'{last}_', str(last)[:-1], 'type', 'name', '', 'x' * 300])] = section.pop(last)
    else:
        section[last] = copy.deepcopy(tree)


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """One to eight bytes changed, a part cut out, doubled, zeroed or moved, or the end cut off."""
    data, kind = bytearray(data), draw.randrange(6)
    start = draw.randrange(len(data) + 1)
    if kind == 0:
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 1:
        del data[start:]
    elif kind == 2:
        del data[start:start + draw.randint(1, 64)]
    elif kind == 3:
        data[start:start] = data[start:start + draw.randint(1, 64)]
    elif kind == 4:
        data[start:start + 64] = bytes(len(data[start:start + 64]))
    else:
        data[start:start] = draw.randbytes(draw.randint(1, 64))
    return bytes(data)


def mutate_yaml(text: str, draw: random.Random) -> bytes:
    """An option file with values, lines or bytes changed."""
    kind = draw.randrange(10)
    if kind < 6:
        tree = mutate_tree(yaml.safe_load(text), draw)
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode('utf-8', 'surrogatepass')
    if kind < 9:
        return _mutate_lines(text, draw).encode()
    return mutate_bytes(text.encode(), draw)


def _mutate_lines(text: str, draw: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(draw.randint(1, 3)):
        at, kind = draw.randrange(len(lines)), draw.randrange(5)
        if kind == 0:
            lines[at] = lines[at].partition(':')[0] + ': ' + draw.choice(ODD_LINES)
        elif kind == 1:
            lines.insert(at, ' ' * draw.randrange(6) + draw.choice(ODD_LINES))
        elif kind == 2:
            lines.insert(at, lines[draw.randrange(len(lines))])
        elif kind == 3:
            lines[at] = ' ' * draw.randrange(8) + lines[at].strip()
        else:
            lines.pop(at)
            lines = lines or ['']
    return '\n'.join(lines) + '\n'


def mutate_safetensors(data: bytes, draw: random.Random) -> bytes:
    """A bundle with bytes changed, or its description of tensors, or the options in its header."""
    if draw.randrange(4) == 0:
        return mutate_bytes(data, draw)
    size = struct.unpack('<Q', data[:8])[0]
    header, rest = json.loads(data[8:8 + size]), data[8 + size:]
    options = json.loads(header['__metadata__']['gavn'])
    kind = draw.randrange(4)
    if kind < 2:
        options = mutate_tree(options, draw)
        header['__metadata__']['gavn'] = json.dumps(options)
    elif kind == 2:
        text = mutate_bytes(json.dumps(options).encode(), draw)
        header['__metadata__']['gavn'] = text.decode('utf-8', 'replace')
    else:
        name = draw.choice([name for name in header if name != '__metadata__'])
        _mutate_tensor(header, name, draw)
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + rest


def _mutate_tensor(header: dict[str, Any], name: str, draw: random.Random) -> None:
    tensor = header[name]
    kind = draw.randrange(5)
    if kind == 0:
        tensor['dtype'] = draw.choice(['I64', 'I32', 'F16', 'BF16', 'F8_E4M3', 'BOOL', 'C64', 'X', 'U32'])
    elif kind == 1:
        tensor['shape'] = draw.choice([[], [0], [-1], [2 ** 62, 4], list(reversed(tensor['shape']))])
    elif kind == 2:
        tensor['data_offsets'] = draw.choice([[0, 4], [4, 0], [0, 2 ** 40], [-4, 0]])
    elif kind == 3:
        header[draw.choice(['loose', f'{name}x', f'network_x/{name}', '/', 'network_g/'])] = header.pop(name)
    else:
        del header[name]


def mutate_archive(data: bytes, draw: random.Random) -> bytes:
    """A checkpoint of torch with bytes changed, in the file or, the archive left whole, in its pickle."""
    if draw.randrange(3) == 0:
        return mutate_bytes(data, draw)
    result, level = io.BytesIO(), draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, 'w', level) as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith('data.pkl'):
                content = mutate_bytes(content, draw)
            elif draw.randrange(40) == 0:
                continue
            new.writestr(entry.filename, content)
    return result.getvalue()
