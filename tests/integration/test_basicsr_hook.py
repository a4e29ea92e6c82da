"""`import gavn` registers everything with BasicSR, before or after `import basicsr`."""
import subprocess
import sys

import pytest

SHIM = """
import sys, torchvision.transforms.functional as functional
sys.modules['torchvision.transforms.functional_tensor'] = functional  # basicsr alone cannot be imported
"""
LOOKUP = """
import sys
from basicsr.utils import registry
assert 'gavn.basicsr_plugin' not in sys.modules
assert registry.ARCH_REGISTRY.get('EDVR').__module__ == 'gavn.archs.edvr_arch'
found = [registry.ARCH_REGISTRY.get('GAVN'), registry.DATASET_REGISTRY.get('AVClipDataset'),
         registry.MODEL_REGISTRY.get('GAVNModel'), registry.LOSS_REGISTRY.get('PFLDLoss'),
         registry.METRIC_REGISTRY.get('landmark_nme')]
assert {item.__module__.partition('.')[0] for item in found} == {'gavn'}
assert registry.Registry.get.__module__ == 'basicsr.utils.registry'
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith('gavn')]
try:
    registry.ARCH_REGISTRY.get('NoSuchNetwork')
except KeyError as error:
    assert 'NoSuchNetwork' in str(error)
else:
    raise AssertionError
"""


def python(code: str) -> None:
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('imports', [
    'import gavn, basicsr', SHIM + 'import basicsr, gavn', 'import gavn.archs.edvr_arch',
    'import gavn.metrics.clip_metrics', 'import gavn.data.av_clip_dataset',
    'import gavn.basicsr_patches.build'])
def test_everything_is_registered_at_the_first_lookup(imports: str) -> None:
    python(imports + LOOKUP)


def test_other_modules_are_found_as_before() -> None:
    python("""
import importlib.util, sys
before = [importlib.util.find_spec(name) for name in ('json', 'basicsr', 'no_such_module')]
import gavn
assert [importlib.util.find_spec(name) for name in ('json', 'basicsr', 'no_such_module')] == before
import wave
assert 'basicsr' not in sys.modules
""")


def test_the_first_network_that_is_built_can_be_gavns() -> None:
    python("""
import gavn
from basicsr.archs import build_network
build_network({'type': 'PFLDAV', 'width': 0.125})
""")
