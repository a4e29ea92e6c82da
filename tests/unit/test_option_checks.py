"""A wrong option file is refused, with the key, the file, the line and the nearest valid name."""
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from basicsr.archs.edvr_arch import EDVR
from checked_options import TRAINING, changed, check
from linear_training import StandInNet  # noqa: F401  (makes basicsr importable and registers)

from gavn import models
from gavn.basicsr_patches.utils_options import registries
from gavn.config.check import Registries, check_options
from gavn.config.option_file import OptionError, read_options


def test_a_good_file_passes(tmp_path: Path) -> None:
    check(TRAINING, tmp_path)
    with pytest.raises(OptionError, match='unknown key train'):
        check(changed('train.warmup_iters', 1), tmp_path)


@pytest.mark.parametrize(('place', 'words'), [
    ('train.amp', 'train.amp is null; it must be none or bf16, or left out for its default'),
    ('train.compile', 'train.compile is null'),
    ('train.ema_decay', 'train.ema_decay is null'),
    ('network_g.share_align', 'network_g.share_align is null; it must be all or type or none'),
    ('path.strict_load_g', 'path.strict_load_g is null; it must be true or false'),
    ('datasets.train.gt_frames', 'datasets.train.gt_frames is null'),
    ('num_gpu', 'num_gpu is null; it must be a whole number or auto'),
])
def test_null_is_no_word_and_no_default(place: str, words: str, tmp_path: Path) -> None:
    """`compile: ~` turned compiling on, as every value but the word none did."""
    *path, last = place.split('.')
    options = yaml.safe_load(changed('name', 'x'))
    section = options
    for part in path:
        section = section[part]
    section[last] = None
    with pytest.raises(OptionError, match=words):
        check(yaml.safe_dump(options), tmp_path)


def test_a_good_test_file_passes(tmp_path: Path) -> None:
    options = yaml.safe_load(TRAINING)
    options = {key: value for key, value in options.items() if key not in ('train', 'logger')}
    options['datasets'] = {'test_1': options['datasets']['val'], 'test_2': options['datasets']['val']}
    options['val'] = {'save_video': True, 'pbar': False}
    check(yaml.safe_dump(options), tmp_path, is_train=False)
    options['val']['pbarr'] = None
    with pytest.raises(OptionError, match='nearest valid name is pbar'):
        check(yaml.safe_dump(options), tmp_path, is_train=False)


@pytest.mark.parametrize(('place', 'value', 'message'), [
    ('method', 'Ground truth', "method: 'Ground truth' cannot name a method"),
    ('method', '', "method: '' cannot name a method: give a name that is neither empty nor"),
    ('manual_sed', 1, 'unknown key manual_sed; the nearest valid name is manual_seed'),
    ('datasets.train.degredation', 'x', 'unknown key datasets.train.degredation; the nearest valid name is '
                                        'degradation'),
    ('datasets.train.batch_size', 8, 'nearest valid name is batch_size_per_gpu'),
    ('datasets.train.num_frame', '7', "datasets.train.num_frame is '7'; it must be a whole number"),
    ('datasets.train.root', None, 'datasets.train.root is missing'),
    ('datasets.train.batch_size_per_gpu', None, 'datasets.train.batch_size_per_gpu is missing'),
    ('datasets.train.type', 'AVClipDatset', 'no data set called AVClipDatset; the nearest valid name is '
                                            'AVClipDataset'),
    ('datasets.train.prefetch_mode', 'gpu', "prefetch_mode is 'gpu'; it must be cpu or cuda"),
    ('datasets.train.batch_size_per_gpu', 0, 'datasets.train.batch_size_per_gpu is 0; it must be above 0'),
    ('datasets.train.audio', 'zeross', "datasets.train.audio is 'zeross'; it must be true or zeros or "
                                       'shuffled; the nearest is zeros'),
    ('datasets.train.pin_memory', False, 'prefetch_mode: cuda needs pin_memory: true'),
    ('datasets.train', None, 'datasets.train is missing'),
    ('datasets.vall', {'name': 'x', 'type': 'VideoTestDataset'}, 'data sets of training are called'),
    ('datasets', None, 'datasets is missing'),
    ('datasets', 5, 'datasets must be a section, not 5'),
    ('logger', 5, 'logger must be a section, not 5'),
    ('network_g.num_feats', 64, 'unknown key network_g.num_feats; the nearest valid name is num_feat'),
    ('network_g.num_feat', '64', "network_g.num_feat is '64'; it must be a whole number"),
    ('network_g.type', 'GAVM', 'no network called GAVM; the nearest valid name is GAVN'),
    ('network_g.type', None, 'network_g.type is missing'),
    ('network_g.share_align', 'al', "network_g.share_align is 'al'; it must be all or type or none; the "
                                    'nearest is all'),
    ('network_g.init', 'ordinry', 'it must be scaled or ordinary; the nearest is ordinary'),
    ('network_g.eq9', 'literaly', 'it must be similarity or literal; the nearest is literal'),
    ('network_g.attention', 'dott', 'it must be dot or elementwise; the nearest is dot'),
    ('network_g.audio_map', 'tiles', 'it must be decode or tile; the nearest is tile'),
    ('network_g.dcn_backend', 'torchvison', 'the nearest is torchvision'),
    ('network_g.inject', 'al', "network_g.inject is 'al'; it must be true or false"),
    ('network_inputs', 'lq', "network_inputs is 'lq'; it must be a list (lq or audio or landmarks "
                             'or region)'),
    ('network_inputs', ['lq', 'audi'], "network_inputs[1] is 'audi'; it must be lq or audio or landmarks or "
                                       'region; the nearest is audio'),
    ('window', 'center', "window is 'center'; it must be centre or frame"),
    ('path.pretrain_network_l', 3, 'path.pretrain_network_l is 3; it must be text'),
    ('path.pretrain_network_q', 'x.pth', 'path.pretrain_network_q: there is no section network_q; the '
                                         'nearest valid name is pretrain_network_'),
    ('path.param_key_q', 'params', 'path.param_key_q: there is no section network_q; the nearest valid name '
                                   'is param_key_'),
    ('path.strict_load_q', True, 'path.strict_load_q: there is no section network_q; the nearest valid name '
                                 'is strict_load_'),
    ('path.pretrain_network_g_ema', 'x.pth', 'there is no section network_g_ema'),
    ('path', 5, 'path must be a section, not 5'),
    ('path.strict_load_g', 'yes', "path.strict_load_g is 'yes'; it must be true or false"),
    ('path.resume_stat', 'x', 'nearest valid name is resume_state'),
    ('train.grad_clipp', 1, 'unknown key train.grad_clipp; the nearest valid name is grad_clip'),
    ('train.ema_decay', '0.9.9', "it must be a number"),
    ('train.amp', 'fp16', "train.amp is 'fp16'; it must be none or bf16"),
    ('train.phases', None, 'train.total_iter, the length of training, is missing'),
    ('train.phases', [], 'train.phases is empty'),
    ('train.total_iter', 0, 'train.total_iter is 0; it must be above 0'),
    ('train.perceptual_opt', {'type': 'PerceptualLoss'}, 'train.perceptual_opt: GAVNModel does not read it'),
    ('train.scheduler', {'type': 'MultiStepLR'}, 'train.scheduler.milestones is missing'),
    ('train.scheduler', {'type': 'MultistepLR'}, 'the nearest valid name is MultiStepLR'),
    ('train.scheduler', {'type': 'MultiStepLR', 'milestones': [5], 'gama': 1}, 'nearest valid name is gamma'),
    ('train.net_d_iters', 1, 'train.net_d_iters: GAVNModel does not read it'),
    ('val.flip_seq', True, 'val.flip_seq: GAVNModel does not read it'),
    ('train.phases.0.lrr', 1, 'unknown key train.phases[0].lrr; the nearest valid name is lr'),
    ('train.phases.0.lr', None, 'train.phases[0] has no learning rate: give train.optim_g.lr'),
    ('train.phases.0.train', 'temporal', 'it must be a list (text)'),
    ('train.phases.0.iters', 5, 'train.phases[0] needs one length above 0'),
    ('train.phases.1.iters', 0, 'train.phases[1] needs one length above 0'),
    ('train.phases.1', 5, 'train.phases[1] must be a section, not 5'),
    ('train.optim_g.type', 'Adan', 'there is no optimizer called Adan; the nearest valid name is Adam'),
    ('train.optim_g.beta', [0.9, 0.9], 'nearest valid name is betas'),
    ('train.optim_g.lr', 'fast', "train.optim_g.lr is 'fast'; it must be a number"),
    ('train.optim_g', None, 'train.optim_g is missing'),
    ('train.optim_g.betas', 0.9, 'train.optim_g.betas is 0.9; it must be a list'),
    ('train.pixel_opt.type', 'Charbonier', 'no loss called Charbonier; the nearest valid name is Charb'),
    ('train.pixel_opt.eps', 'small', "train.pixel_opt.eps is 'small'; it must be a number"),
    ('val.metrics.psnr.type', 'calculate_pnsr', 'no metric called calculate_pnsr; the nearest valid name is '
                                                'calculate_psnr'),
    ('val.metrics.psnr.crop_bordr', 0, 'unknown key val.metrics.psnr.crop_bordr; the nearest valid name is '
                                       'crop_border'),
    ('val.metrics.psnr.beter', 'higher', 'the nearest valid name is better'),
    ('val.metrics.psnr.better', 'highr', "val.metrics.psnr.better is 'highr'; it must be higher or lower; "
                                         'the nearest is higher'),
    ('val.metrics.psnr.img2', 0, 'val.metrics.psnr.img2 is set by the program'),
    ('val.metrics.psnr.type', ['calculate_psnr'], 'there is no metric called'),
    ('val.save_vide', True, 'nearest valid name is save_video'),
    ('val.val_freq', None, 'val.val_freq is missing'),
    ('logger.print_freq', None, 'logger.print_freq is missing'),
    ('logger.keep_checkpoints', 0, 'must be a number above 0'),
    ('logger', None, 'the section logger is missing'),
    ('model_type', 'GAVN', 'there is no model called GAVN; the nearest valid name is GAVNModel'),
    ('name', None, 'name is missing'),
    ('num_gpu', 'all', "num_gpu is 'all'; it must be a whole number or auto"),
])
def test_what_is_wrong_is_named(place: str, value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as error:
        check(changed(place, value), tmp_path)
    assert message in str(error.value)
    assert f'{tmp_path}/options.yml' in str(error.value)
    assert '\n' not in str(error.value)  # nothing else is


def test_the_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r'options\.yml, line 27: unknown key network_g\.num_feet'):
        check(TRAINING.replace('  num_feat: 64', '  num_feet: 64'), tmp_path)


def test_every_problem_is_named(tmp_path: Path) -> None:
    text = TRAINING.replace('num_feat', 'num_feet').replace('warmup_iter', 'warm_iter')
    with pytest.raises(OptionError, match=r'(?s)num_feet.*warm_iter'):
        check(text, tmp_path)


@pytest.mark.parametrize(('text', 'message'), [
    (TRAINING.replace('network_g:', 'network_h:'), 'the section network_g is missing'),
    (TRAINING.replace('  num_feat: 64', '  num_reconstruct_block: [1]'),
     r'line 27: network_g\.num_reconstruct_block is \[1\]; it must be a list'),
    (TRAINING.replace('manual_seed: 0', 'manual_seed: 99999999999'), r'line 5: manual_seed is 9+; it'),
])
def test_what_no_model_could_be_built_from(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        check(text, tmp_path)


@pytest.mark.parametrize(('text', 'message'), [
    ('a: 1\nb: {c: 1, d: 2, c: 3}\n', r'line 2: b\.c is given twice, first in line 2'),
    ('a: {on: 1}\n', r'line 1: a\.on is no text; write it in quotes'),
    ('[a, b]: 1\n', r'line 1: .* is no text'),
    ('a: [1\n', 'line 2: not valid YAML'), ('- a\n', 'holds no options'), ('', 'holds no options'),
    ('a: !!python/object/apply:os.getcwd []\n', 'line 1: not valid YAML'),
])
def test_what_is_no_option_file(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / 'x.yml').write_text(text)
    with pytest.raises(OptionError, match=message):
        read_options(tmp_path / 'x.yml')


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match='No such file'):
        read_options(tmp_path / 'none.yml')


def stock(model: str, **train: Any) -> str:
    """The option file of a model of BasicSR."""
    options = yaml.safe_load(changed('model_type', model))
    options['train'] = {'total_iter': 100, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, **train}
    return yaml.safe_dump({**options, 'val': {'val_freq': 5, 'suffix': 'x'}}, sort_keys=False)


def test_stock_models_may_read_keys_of_their_own(tmp_path: Path) -> None:
    text = changed('gt_usm', True, stock('RealESRGANModel', something=1, scheduler={'type': 'MultiStepLR'}))
    check(changed('val.something', 1, text), tmp_path)
    with pytest.raises(OptionError, match='nearest valid name is warmup_iter'):
        check(changed('train.warmup_iters', 1, text), tmp_path)


@pytest.mark.parametrize(('model', 'key', 'value'), [
    ('SRModel', 'perceptual_opt', {'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1}}),
    ('SRGANModel', 'gan_opt', {'type': 'GANLoss', 'gan_type': 'gan'}), ('SRGANModel', 'net_d_iters', 1),
    ('EDVRModel', 'tsa_iter', 5), ('EDVRModel', 'dcn_lr_mul', 0.25),
    ('VideoRecurrentModel', 'fix_flow', 5), ('VideoRecurrentModel', 'flow_lr_mul', 0.125),
])
def test_keys_of_stock_models_stay_valid_for_them(model: str, key: str, value: Any, tmp_path: Path) -> None:
    check(stock(model, **{key: value}), tmp_path)
    for ours in ('GAVNModel', 'AVVideoModel', 'LandmarkModel'):
        if key not in ('dcn_lr_mul', 'flow_lr_mul'):
            with pytest.raises(OptionError, match=rf'train\.{key}: {ours} does not read it'):
                check(changed(f'train.{key}', value, changed('model_type', ours)), tmp_path)


@pytest.mark.parametrize(('model', 'key', 'value'), [
    ('SRModel', 'phases', [{'name': 'all', 'lr': 1e-3, 'iters': 5}]), ('EDVRModel', 'offset_limit', 50),
    ('SRModel', 'dcn_lr_mul', 0.25), ('VideoRecurrentModel', 'grad_clip', 0.5), ('SRModel', 'amp', 'bf16'),
])
def test_stock_models_do_not_read_ours(model: str, key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf'train\.{key}: {model} does not read it'):
        check(stock(model, **{key: value}), tmp_path)


def test_stock_models_need_a_length_and_save_no_videos(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r'train\.total_iter is missing'):
        check(stock('SRModel', total_iter=None), tmp_path)
    with pytest.raises(OptionError, match=r'val\.save_video: SRModel does not read it'):
        check(changed('val.save_video', True, stock('SRModel')), tmp_path)


def test_landmarks_need_their_detector(tmp_path: Path) -> None:
    text = changed('path.pretrain_network_l', None, changed('network_l', None))
    with pytest.raises(OptionError, match=r'line \d+: network_inputs names landmarks, but .* network_l'):
        check(text, tmp_path)
    check(changed('network_inputs', ['lq', 'audio'], text), tmp_path)


def test_weights_of_an_absent_detector(tmp_path: Path) -> None:
    text = changed('network_inputs', ['lq'], changed('network_l', None))
    with pytest.raises(OptionError, match='pretrain_network_l: there is no section network_l'):
        check(text, tmp_path)


class Derived(EDVR):
    """A network of a plugin that hands on what it does not know."""

    def __init__(self, extra: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)


@pytest.mark.parametrize(('network', 'is_valid'), [
    ({'type': 'Derived', 'num_feat': 8}, True), ({'type': 'SwinIR', 'embed_dim': 60}, True),
    ({'type': 'SwinIR', 'embed_dimm': 60}, False),  # which SwinIR would drop
])
def test_arguments_that_are_handed_on(network: dict, is_valid: bool, tmp_path: Path) -> None:
    known = registries()
    known = replace(known, network={**known.network, 'Derived': Derived})
    (tmp_path / 'x.yml').write_text(changed('network_g', network))
    options, source = read_options(tmp_path / 'x.yml')
    if is_valid:
        check_options(options, source, known)
    else:
        with pytest.raises(OptionError, match='nearest valid name is embed_dim'):
            check_options(options, source, known)


def test_what_models_fill_in_is_what_their_options_say() -> None:
    assert models.GAVNModel.ValOptions().pbar is True
    assert models.LandmarkModel.ValOptions is models.GAVNModel.ValOptions
    assert issubclass(models.GAVNModel.TrainOptions, models.LandmarkModel.TrainOptions)


def test_stock_data_sets_may_too(tmp_path: Path) -> None:
    section = {'name': 'x', 'type': 'VideoTestDataset', 'dataroot_gt': 'a', 'dataroot_lq': 'b'}
    check(changed('datasets.val', section), tmp_path)
    with pytest.raises(OptionError, match='no data set called VideoTestDatasets'):
        check(changed('datasets.val', section | {'type': 'VideoTestDatasets'}), tmp_path)


@pytest.mark.parametrize(('network', 'message'), [
    ({'type': 'EDVR', 'num_feat': 64, 'with_tsa': True}, None),
    ({'type': 'BasicVSRPlusPlus', 'mid_channels': 64, 'is_low_res_input': False}, None),
    ({'type': 'EDVR', 'num_feats': 64}, 'the nearest valid name is num_feat'),
    ({'type': 'EDVR', 'num_feat': 'wide'}, 'must be a whole number'),
    ({'type': 'BasicVSR', 'num_feat': 'wide'}, 'must be a number'),
])
def test_networks_of_basicsr(network: dict, message: str | None, tmp_path: Path) -> None:
    text = changed('network_g', network)
    if message is None:
        check(text, tmp_path)
    else:
        with pytest.raises(OptionError, match=message):
            check(text, tmp_path)


def test_a_model_may_declare_options_of_its_own(tmp_path: Path) -> None:
    class Mine:
        @dataclass
        class Options:
            taste: float

    known = registries()
    mine = Registries(known.network, known.dataset, {**known.model, 'Mine': Mine}, known.loss, known.metric)
    (tmp_path / 'x.yml').write_text(changed('model_type', 'Mine'))
    options, source = read_options(tmp_path / 'x.yml')
    with pytest.raises(OptionError, match=r'train\.taste is missing'):
        check_options(options, source, mine)
    options['train']['taste'] = 0.5
    check_options(options, source, mine)
    options['train'].pop('phases')
    with pytest.raises(OptionError, match=r'train\.total_iter, the length of training, is missing'):
        check_options(options, source, mine)
    options['train']['total_iter'] = 5
    check_options(options, source, mine)
