"""Where the project's files are, in a checkout and in an installed package."""
from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
_IN_CHECKOUT = (PACKAGE.parent / 'setup.py').is_file()


def project_root() -> Path:
    """Returns the folder of data, experiments and results: the checkout, else the working directory."""
    return PACKAGE.parent if _IN_CHECKOUT else Path.cwd()


def install_command(extra: str) -> str:
    """Returns the command that installs an extra of gavn; `train` includes BasicSR."""
    what = f"-e '.[{extra}]'" if _IN_CHECKOUT else f"'gavn[{extra}]'"
    basicsr = ' && pip install --no-build-isolation --no-deps basicsr==1.4.2'
    return install_packages(what) + basicsr * (extra == 'train')


def install_packages(packages: str) -> str:
    """Returns the command that installs packages, in a checkout in the versions of its constraints.txt."""
    return f'pip install {"-c constraints.txt " * _IN_CHECKOUT}{packages}'


def locate(path: str, root: Path) -> Path | None:
    """Finds a file or folder given relative to the working directory, to `root` or to the package.

    An installed package holds the `options` of the checkout. Returns None if there is no such file.
    """
    given = Path(os.path.expanduser(path))  # Path.expanduser fails for ~NOBODY, Path.exists for long names
    return next((place for place in (given, root / given, PACKAGE / given) if os.path.exists(place)), None)


def searched(root: Path) -> str:
    """Names the folders in which `locate` looks for the user's files, for messages."""
    return ' and '.join(dict.fromkeys(map(str, (Path.cwd(), root))))
