"""Schema of the sections of an option file as dataclasses, for `gavn.config.check`.

`train` and `val` depend on the model. Models of gavn have dataclasses `TrainOptions` and `ValOptions`; those
for models of BasicSR are here.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

NetworkInput = Literal['lq', 'audio', 'landmarks', 'region']
WindowMode = Literal['centre', 'frame']  # of a network without `layout`, see `gavn.archs.inputs.layout_of`
Better = Literal['higher', 'lower']
REFERENCES = ('degraded input', 'ground truth')
"""Names of the references in results."""


NAME_BYTES = 180
"""Largest length of a name in UTF-8. File systems allow 255; runs add `_archived_<time>` or an iteration."""


def network_sections(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sections `network_g`, `network_l` ... of an option file."""
    return {name: section for name, section in options.items()
            if name.startswith('network_') and name != 'network_inputs'}


def check_method(name: str) -> str:
    """Returns the name of a method. Raises ValueError if it is empty or in `REFERENCES`."""
    if not name.strip() or name.strip().lower() in REFERENCES:
        raise ValueError(f'{name!r} cannot name a method: give a name that is neither empty nor '
                         f'{" nor ".join(REFERENCES)}, which stand beside methods in results')
    return name


def check_component(name: str) -> str:
    """Returns a name that is used as a folder or as part of a file name.

    Raises:
        ValueError: it is empty, `.` or `..`, longer than `NAME_BYTES`, or has separators or control
            characters.
    """
    if not name.strip() or name in ('.', '..') or not name.isprintable() or set(name) & set('/\\'):
        shown = ascii(name) if len(name) <= 80 else f'{name[:80]!a}...'
        raise ValueError(f'{shown} cannot name a folder: give one name without / or \\ (not . or ..)')
    if len(name.encode('utf-8', 'surrogateescape')) > NAME_BYTES:
        raise ValueError(f'{name[:40]!a}... is longer than {NAME_BYTES} bytes; give a shorter name')
    return name


def task_of(training: Mapping[str, Any]) -> str | None:
    """Returns the task of networks, from the layer, or the first layer, of their training data."""
    layers = training.get('degradation')
    return layers[0] if isinstance(layers, list) else layers


@dataclass(frozen=True)
class Kind:
    """Marks a section {type: NAME, ...}: the registry of NAME, and arguments set by the program."""

    name: str
    supplied: tuple[str, ...] = ()


SUPPLIED = ('img', 'img2', 'landmarks', 'true_landmarks', 'device')
"""Arguments of metrics that the program supplies; all others are options of `val.metrics`."""

Network = Annotated[dict, Kind('network')]
Loss = Annotated[dict, Kind('loss')]
Metric = Annotated[dict, Kind('metric', SUPPLIED)]
Optimizer = Annotated[dict, Kind('optimizer', ('params',))]
Schedule = Annotated[dict, Kind('scheduler')]


@dataclass
class PhaseOptions:
    """One entry of `train.phases`, of `iters` iterations."""

    name: str
    # lr, lr_end: a cosine from `lr` to `lr_end`, instead of the rate of the optimizer and the scheduler
    lr: float | None = None
    epochs: float | None = None  # an older form of `iters` that depends on the data
    iters: int | None = None  # iterations
    # train, freeze: prefixes of parameters. All of `train` (null: of the network) except `freeze` are
    # trained.
    train: list[str] | None = None
    freeze: list[str] | None = None
    temporal_only: bool = False
    lr_end: float | None = None


@dataclass(kw_only=True)
class PhasedTrainOptions:
    """`train` of a model with phases, of `total_iter` iterations.

    The learning rate is `optim_g.lr`, changed by `scheduler`. Without `phases`, everything is trained.
    Deformable layers have `dcn_lr_mul` times the learning rate, the flow network `flow_lr_mul` times.
    """

    total_iter: int | None = None
    phases: list[PhaseOptions] | None = None
    optim_g: Optimizer
    scheduler: Schedule | None = None
    pixel_opt: Loss
    warmup_iter: int = -1
    ema_decay: float = 0
    grad_clip: float | None = None
    dcn_lr_mul: float = 1
    flow_lr_mul: float = 1
    offset_limit: float | None = None
    amp: Literal['none', 'bf16'] = 'none'


@dataclass(kw_only=True)
class RestoringTrainOptions(PhasedTrainOptions):
    """`train` of a restoration network. The speed options change results only by rounding."""

    accumulate: int = 1  # number of equal parts of a batch that are computed one after the other
    channels_last: bool = False  # memory format
    recompute: list[str] | None = None  # parts of the network with gradient checkpointing
    # a mode of `torch.compile`; eager traces without compiling
    compile: Literal['none', 'default', 'reduce-overhead', 'max-autotune', 'eager'] = 'none'


@dataclass(kw_only=True)
class StockTrainOptions:
    """`train` of BasicSR's models, each of which reads a part."""

    total_iter: int
    warmup_iter: int = -1
    ema_decay: float = 0
    scheduler: dict | None = None
    optim_g: Optimizer | None = None
    optim_d: Optimizer | None = None
    pixel_opt: Loss | None = None
    perceptual_opt: Loss | None = None
    gan_opt: Loss | None = None
    ldl_opt: Loss | None = None
    feature_matching_opt: Loss | None = None
    tsa_iter: int | None = None
    fix_flow: int | None = None
    flow_lr_mul: float = 1
    lr_flow: float | None = None
    net_d_iters: int = 1
    net_d_init_iters: int = 0
    net_g_reg_every: int | None = None
    net_d_reg_every: int | None = None
    mixing_prob: float | None = None
    path_batch_shrink: float | None = None
    path_reg_weight: float | None = None
    r1_reg_weight: float | None = None


@dataclass(kw_only=True)
class EDVRTrainOptions(StockTrainOptions):
    """`train` of BasicSR's EDVRModel."""

    dcn_lr_mul: float = 1


@dataclass(kw_only=True)
class AnyTrainOptions(StockTrainOptions, PhasedTrainOptions):
    """`train` of a model without a schema."""

    # nothing is required of a model that does not say what it reads
    total_iter: int | None = None  # type: ignore[assignment]  # required in the base class
    scheduler: dict | None = None
    optim_g: Optimizer | None = None  # type: ignore[assignment]  # required in the base class
    pixel_opt: Loss | None = None  # type: ignore[assignment]  # required in the base class


@dataclass
class ClipValOptions:
    """`val` of a model that validates on whole clips."""

    val_freq: int | None = None
    save_img: bool = False
    save_video: bool = False
    metrics: dict[str, Metric] | None = None
    pbar: bool = True


@dataclass
class StockValOptions:
    """`val` of BasicSR's models, each of which reads a part."""

    val_freq: int | None = None
    save_img: bool = False
    metrics: dict[str, Metric] | None = None
    suffix: str | int | None = None
    pbar: bool = False
    flip_seq: bool = False
    center_frame_only: bool = False
    num_val_samples: int | None = None


@dataclass
class AnyValOptions(StockValOptions, ClipValOptions):
    """`val` of a model without a schema."""


@dataclass
class LoggerOptions:
    """`logger`. `keep_checkpoints`: number of newest checkpoints to keep (null: all), besides the best."""

    print_freq: int
    save_checkpoint_freq: int
    keep_checkpoints: int | None = None
    use_tb_logger: bool = False
    wandb: dict | None = None


@dataclass
class PathOptions:
    """`path`. Roots are parents of the folder of the run; keys of networks are in `NETWORK_PATHS`."""

    resume_state: str | None = None
    ignore_resume_networks: list[str] | None = None
    experiments_root: str | None = None
    results_root: str | None = None


NETWORK_PATHS: dict[str, Any] = {'pretrain_network_': str | None, 'strict_load_': bool,
                                 'param_key_': str | None}
"""Prefixes of keys of `path` that end in the letter of a network -> type of the value."""


@dataclass
class LoaderOptions:
    """Keys of every data set section, besides the options of its data set."""

    name: str
    type: str
    num_worker_per_gpu: int | None = None
    batch_size_per_gpu: int | None = None
    use_shuffle: bool = True
    dataset_enlarge_ratio: int = 1
    shards: int = 1  # one for each node: its processes read only their part of the training data
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: int = 1
    pin_memory: bool = False
    persistent_workers: bool | None = None


@dataclass
class FileOptions:
    """The top level of an option file, besides the keys `network_g`, `network_l` ..."""

    name: str
    model_type: str
    datasets: dict
    method: str | None = None  # name in results and tables; null: the type of `network_g`
    train: dict | None = None
    val: dict | None = None
    logger: LoggerOptions | None = None
    path: dict | None = None
    scale: int = 1
    num_gpu: int | Literal['auto'] = 'auto'
    manual_seed: int | None = 0  # null draws one
    network_inputs: list[NetworkInput] | None = None
    window: WindowMode | None = None
    custom_imports: list[str] | None = None  # modules that register the user's own networks, losses and so on
    find_unused_parameters: bool = False
    dist_params: dict | None = None
    debug: bool = False


def is_basicsr_class(cls: Any) -> bool:
    """Whether a class comes with BasicSR, or is gavn's correction of one; users' own classes do not count."""
    return getattr(cls, '__module__', '').startswith(('basicsr.', 'gavn.basicsr_patches.'))


@dataclass(frozen=True)
class ModelSchema:
    """Options of a model."""

    train: type = AnyTrainOptions  # dataclass of the section `train`
    val: type = AnyValOptions  # dataclass of the section `val`
    open: bool = False  # the model may read further keys, as BasicSR's models do

    @classmethod
    def from_model(cls, model: Any) -> ModelSchema:
        """The schema of a model class. None, which is no model, may read all listed keys."""
        if is_basicsr_class(model):
            train = EDVRTrainOptions if model.__name__ == 'EDVRModel' else StockTrainOptions
            return cls(train, StockValOptions, open=True)
        return cls(getattr(model, 'TrainOptions', cls.train), getattr(model, 'ValOptions', cls.val))
