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
    """One entry of `train.phases`. Phases follow each other; the last one continues to `total_iter`."""

    name: str  # for the log
    lr: float | None = None  # learning rate instead of `optim_g.lr` and `scheduler`; null: theirs
    epochs: float | None = None  # older form of `iters`: epochs of the training data
    iters: int | None = None  # length in iterations
    train: list[str] | None = None  # prefixes of the trained parameters; null: all
    freeze: list[str] | None = None  # prefixes of parameters that are not trained; overrides `train`
    temporal_only: bool = False  # GAVN only: run the network without its identity module
    lr_end: float | None = None  # final rate of a cosine schedule that starts at `lr`; null: `lr` is constant


@dataclass(kw_only=True)
class PhasedTrainOptions:
    """`train` of a model with phases."""

    total_iter: int | None = None  # length of training in iterations (optimizer steps); null: sum of `phases`
    phases: list[PhaseOptions] | None = None  # null: one phase that trains all parameters
    optim_g: Optimizer  # class of torch.optim and its arguments; `lr` is the initial learning rate
    scheduler: Schedule | None = None  # learning rate schedule; null: constant
    pixel_opt: Loss  # the training loss
    warmup_iter: int = -1  # iterations of linear learning rate warm-up from 0; -1: none
    ema_decay: float = 0  # decay of the exponential moving average of the weights per iteration; 0: none
    grad_clip: float | None = None  # largest L2 norm of the gradient (gradient norm clipping); null: none
    dcn_lr_mul: float = 1  # factor of the learning rate of deformable layers
    flow_lr_mul: float = 1  # factor of the learning rate of the optical flow network (SpyNet)
    # largest mean |offset| of a deformable layer in pixels, above which training stops; null: no limit
    offset_limit: float | None = None
    amp: Literal['none', 'bf16'] = 'none'  # mixed precision; bf16: autocast of `forward` to bfloat16


@dataclass(kw_only=True)
class RestoringTrainOptions(PhasedTrainOptions):
    """`train` of a restoration network. The speed options change results only by rounding."""

    accumulate: int = 1  # gradient accumulation: number of equal parts of a batch, computed in turn; 1: none
    channels_last: bool = False  # store convolution weights in the memory format channels_last (NHWC)
    recompute: list[str] | None = None  # modules with activation checkpointing; null: none
    # mode of torch.compile; none: not compiled; eager: traced but not compiled
    compile: Literal['none', 'default', 'reduce-overhead', 'max-autotune', 'eager'] = 'none'


@dataclass(kw_only=True)
class StockTrainOptions:
    """`train` of BasicSR's models, each of which reads a part."""

    total_iter: int  # length of training in iterations
    warmup_iter: int = -1  # iterations of linear learning rate warm-up from 0; -1: none
    ema_decay: float = 0  # decay of the exponential moving average of the generator's weights; 0: none
    scheduler: dict | None = None  # learning rate schedule of all optimizers
    optim_g: Optimizer | None = None  # optimizer of the generator
    optim_d: Optimizer | None = None  # optimizer of the discriminator
    pixel_opt: Loss | None = None  # pixel loss; null: none, as for the losses below
    perceptual_opt: Loss | None = None  # perceptual (VGG) and style loss
    gan_opt: Loss | None = None  # adversarial loss
    ldl_opt: Loss | None = None  # locally discriminative learning loss (LDL)
    feature_matching_opt: Loss | None = None  # loss of discriminator features (HiFaceGANModel)
    tsa_iter: int | None = None  # EDVRModel: only the TSA fusion is trained before this iteration; null: all
    # VideoRecurrentModel: SpyNet and EDVR features are frozen before this iteration; null: never.
    # VideoRecurrentGANModel: whether SpyNet has the learning rate `lr_flow`
    fix_flow: int | None = None
    flow_lr_mul: float = 1  # VideoRecurrentModel: factor of the learning rate of SpyNet
    lr_flow: float | None = None  # VideoRecurrentGANModel: learning rate of SpyNet with `fix_flow`
    net_d_iters: int = 1  # GAN models: the generator is updated every so many iterations
    net_d_init_iters: int = 0  # GAN models: iterations at the start that update the discriminator only
    net_g_reg_every: int | None = None  # StyleGAN2Model: iterations between path length regularizations
    net_d_reg_every: int | None = None  # StyleGAN2Model: iterations between R1 regularizations
    mixing_prob: float | None = None  # StyleGAN2Model: probability of style mixing
    path_batch_shrink: float | None = None  # StyleGAN2Model: divisor of the batch of path regularization
    path_reg_weight: float | None = None  # StyleGAN2Model: weight of path length regularization
    r1_reg_weight: float | None = None  # StyleGAN2Model: weight of R1 regularization


@dataclass(kw_only=True)
class EDVRTrainOptions(StockTrainOptions):
    """`train` of BasicSR's EDVRModel."""

    dcn_lr_mul: float = 1  # factor of the learning rate of deformable layers


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

    val_freq: int | None = None  # iterations between validations; required in training
    save_img: bool = False  # write restored frames as PNG
    save_video: bool = False  # write restored clips as MP4 with audio
    # column name -> metric and its arguments; the first one on the first set selects the best weights
    metrics: dict[str, Metric] | None = None
    pbar: bool = True  # show a progress bar on a terminal


@dataclass
class StockValOptions:
    """`val` of BasicSR's models, each of which reads a part."""

    val_freq: int | None = None  # iterations between validations; required in training
    save_img: bool = False  # write restored images
    metrics: dict[str, Metric] | None = None  # name -> metric and its arguments; null: none
    suffix: str | int | None = None  # end of the names of images in tests; null: the name of the run
    pbar: bool = False  # show a progress bar
    flip_seq: bool = False  # VideoRecurrentModel: append the time-reversed clip and average both results
    center_frame_only: bool = False  # VideoRecurrentModel: evaluate only the middle frame of a clip
    num_val_samples: int | None = None  # StyleGAN2Model: number of images; null: BasicSR's default, 16


@dataclass
class AnyValOptions(StockValOptions, ClipValOptions):
    """`val` of a model without a schema."""


@dataclass
class LoggerOptions:
    """`logger`."""

    print_freq: int  # iterations between log lines
    save_checkpoint_freq: int  # iterations between checkpoints (weights and training state)
    keep_checkpoints: int | None = None  # number of newest checkpoints to keep besides the best; null: all
    use_tb_logger: bool = False  # log to TensorBoard, in tb_logger/<name>
    wandb: dict | None = None  # {project, resume_id} of Weights & Biases; null, or no project: off


@dataclass
class PathOptions:
    """`path`. Files are searched in the working directory, then in the root of the project.

    Keys of networks are in `NETWORK_PATHS`.
    """

    resume_state: str | None = None  # training state (.state) to resume from; null: a new run
    ignore_resume_networks: list[str] | None = None  # sections whose weights a resumed run takes from `path`
    experiments_root: str | None = None  # parent of the folder of a training; null: experiments
    results_root: str | None = None  # parent of the folder of a test; null: results


NETWORK_PATHS: dict[str, Any] = {
    'pretrain_network_': str | None,  # file of weights; null: a new network (tests need a file)
    'strict_load_': bool,  # whether all names and shapes must match; default true
    'param_key_': str | None,  # entry of the file: params (trained) or params_ema (averaged)
}
"""Prefixes of keys of `path` that end in the letter of a network -> type of the value."""


@dataclass
class LoaderOptions:
    """Keys of every data set section, besides the options of its data set."""

    name: str  # in logs and result tables
    type: str  # registered class
    # The following keys are for training data; validation and tests read single clips or images.
    num_worker_per_gpu: int | None = None  # worker processes of the data loader; required, 0: none
    batch_size_per_gpu: int | None = None  # samples of a batch for each GPU or process; required
    use_shuffle: bool = True  # permute the samples of each epoch
    dataset_enlarge_ratio: int = 1  # repetitions of the data set in an epoch
    shards: int = 1  # one for each node: its processes read only their part of the training data
    # null: batches come from the workers; cpu: also from a thread; cuda: copied to the GPU one batch ahead
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: int = 1  # batches that the thread of `prefetch_mode: cpu` holds ready
    pin_memory: bool = False  # page-locked memory for copies to a GPU; `prefetch_mode: cuda` needs it
    persistent_workers: bool | None = None  # keep workers between epochs; null: true


@dataclass
class FileOptions:
    """The top level of an option file, besides the keys `network_g`, `network_l` ..."""

    name: str  # of the run and its folder
    model_type: str  # registered class of the model
    datasets: dict  # sections train, val, val_2 ... in training; test, test_2 ... in tests
    method: str | None = None  # name in results and tables; null: the type of `network_g`
    train: dict | None = None  # training; required there
    val: dict | None = None  # validation and tests
    logger: LoggerOptions | None = None  # logging and checkpoints; required in training
    path: dict | None = None  # weights and folders
    scale: int = 1  # upscaling factor, for models and data sets of BasicSR; 1: the same size
    num_gpu: int | Literal['auto'] = 'auto'  # GPUs without a launcher (DataParallel); auto: all; 0: the CPU
    manual_seed: int | None = 0  # seed of all random numbers, 0 to 2^31 - 1; null draws one
    network_inputs: list[NetworkInput] | None = None  # inputs of `network_g`; null: lq
    # frames that a network without a `layout` of its own takes; frame: one; centre: some, for the middle one
    window: WindowMode | None = None
    custom_imports: list[str] | None = None  # modules that register the user's own networks, losses and so on
    # of DistributedDataParallel: search for parameters without a gradient in each iteration
    find_unused_parameters: bool = False
    # of torch.distributed.init_process_group, under a launcher; `port`: of the first host, for Slurm
    dist_params: dict | None = None
    debug: bool = False  # as --debug: name the run debug_NAME, log each iteration, save and validate every 8


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
