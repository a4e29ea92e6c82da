"""What `import gavn` does for basicsr, and what it leaves alone."""
import subprocess
import sys

import pytest


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-W', 'error::DeprecationWarning:basicsr', '-c', code],
                          capture_output=True, text=True, timeout=120)


def test_basicsr_alone_cannot_be_imported() -> None:
    """When this fails, basicsr or torchvision has changed and the shim can go."""
    done = python('import basicsr')
    assert done.returncode != 0
    assert "No module named 'torchvision.transforms.functional_tensor'" in done.stderr


def test_gavn_makes_basicsr_importable_and_costs_nothing_itself() -> None:
    done = python('import sys, gavn; assert not {"torch", "torchvision", "basicsr"} & set(sys.modules);'
                  'from torchvision.transforms.functional_tensor import rgb_to_grayscale as ours;'
                  'from torchvision.transforms.functional import rgb_to_grayscale;'
                  'assert ours is rgb_to_grayscale; import basicsr.archs, basicsr.data, basicsr.models;'
                  'from basicsr.utils.registry import ARCH_REGISTRY; assert "EDVR" in ARCH_REGISTRY')
    assert done.returncode == 0, done.stderr
    assert 'Warning' not in done.stderr


def test_unknown_names_are_still_unknown() -> None:
    import gavn

    with pytest.raises(AttributeError, match='no attribute'):
        gavn.nothing  # noqa: B018
    with pytest.raises(ImportError):
        from torchvision.transforms.functional_tensor import nothing  # noqa: F401
