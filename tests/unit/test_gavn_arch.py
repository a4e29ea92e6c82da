"""GAVN: sizes, equations, options and inputs against what the paper and hand computation say."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from basicsr.archs.edvr_arch import PCDAlignment
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from gavn.archs.audio_encoder import AudioEncoder
from gavn.archs.gavn_arch import GAVN
from gavn.archs.gavn_identity import IdentityModule, render_heatmaps, sample_region
from gavn.archs.gavn_reconstruction import FeatureTransform, Reconstruction
from gavn.archs.gavn_temporal import Align, TemporalFusion, TemporalModule
from gavn.ops import offset_magnitudes
from gavn.runtime.windows import Layout

TINY = {'num_feat': 8, 'num_extract_block': 1, 'num_reconstruct_block': (1, 1), 'deformable_groups': 2}


def tiny(**options: object) -> GAVN:
    return GAVN(**{**TINY, **options}).eval()


def inputs(n: int = 1, outputs: int = 3, size: tuple[int, int] = (32, 32)) -> dict[str, Tensor]:
    return {
        'lq': torch.rand(n, outputs + 4, 3, *size),
        'audio': 10 * torch.randn(n, outputs, 1, 13, 20),
        'landmarks': torch.rand(n, outputs, 68, 2),
    }


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope='module')
def network() -> GAVN:
    with torch.device('meta'):
        return GAVN()


class TestSize:
    """Parameter counts that were worked out by hand for width 64."""

    @pytest.mark.parametrize(
        ('part', 'parameters'),
        [
            ('temporal.extractor.predeblur', 740_352),
            ('temporal.extractor.conv_1x1', 4_160),
            ('temporal.extractor.feature_extraction', 369_280),
            ('temporal.aligns.all', 1_384_288),
            ('temporal.fuse.emb_ref', 36_928),
            ('temporal.fuse.emb_nbr', 36_928),
            ('temporal.fuse.fusion', 20_544),
            ('temporal', 2_740_192),
            ('identity.frame', 517_952),
            ('identity.landmark', 223_872),
            ('identity.audio.encoder', 633_728),
            ('identity.audio.fc', 402_976),
            ('identity.audio', 1_165_984),
            ('identity.fuse1', 405_952),
            ('identity.fuse2', 405_952),
            ('identity', 2_719_712),
            ('reconstruction', 1_589_635),
            ('', 7_049_539),
        ],
    )
    def test_of_the_default(self, network, part, parameters):
        assert count(network.get_submodule(part)) == parameters

    def test_of_the_four_pyramid_convolutions(self, network):
        extractor = network.temporal.extractor
        convs = extractor.conv_l2_1, extractor.conv_l2_2, extractor.conv_l3_1, extractor.conv_l3_2
        assert sum(map(count, convs)) == 147_712

    @pytest.mark.parametrize(
        ('share_align', 'parameters'), [('all', 2_740_192), ('type', 5_508_768), ('none', 8_277_344)]
    )
    def test_of_shared_aligns(self, share_align, parameters):
        assert count(TemporalModule(share_align=share_align)) == parameters

    def test_of_injection(self):
        assert count(Align(inject=True)) - count(Align()) == 24_768

    def test_of_stage_1(self):
        with torch.device('meta'):
            assert count(GAVN(use_identity=False)) == 4_182_115
        assert count(Reconstruction(use_identity=False)) == 1_441_923

    @pytest.mark.parametrize(('width', 'millions'), [(48, 4.54), (96, 14.10), (128, 23.86)])
    def test_of_other_widths(self, width, millions):
        with torch.device('meta'):
            network = GAVN(num_feat=width)
        assert count(network) / 1e6 == pytest.approx(millions, abs=0.006)


class TestForward:
    @pytest.mark.parametrize('radius', [0, 1, 2])
    def test_restores_all_but_four_frames(self, radius):
        outputs = 2 * radius + 1
        assert tiny(radius=radius)(**inputs(2, outputs)).shape == (2, outputs, 3, 32, 32)

    def test_intermediate_sizes(self):
        network, shapes = tiny(), {}
        parts = {'T': network.temporal, 'I': network.identity, 'up2': network.reconstruction.up2}
        for name, part in parts.items():
            part.register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: out}))
        network(**inputs(2, size=(64, 32)))
        assert shapes['T'].shape == (2, 3, 8, 16, 8)
        assert [level.shape for level in shapes['I']] == [(6, 8, 32, 16), (6, 8, 16, 8)]
        assert shapes['up2'].shape == (6, 8, 32, 16)

    @pytest.mark.parametrize('size', [(33, 47), (16, 20), (5, 3), (1, 1)])
    def test_any_size(self, size):
        result = tiny()(**inputs(size=size))
        assert result.shape[-2:] == size
        assert result.isfinite().all()

    def test_padding_is_the_mirror_image(self):
        network, given = tiny(use_identity=False), inputs(size=(30, 32))
        padded = F.pad(given['lq'].flatten(0, 1), (0, 0, 0, 2), 'reflect').unflatten(0, (1, 7))
        torch.testing.assert_close(network(given['lq']), network(padded)[..., :30, :])

    def test_padding_moves_neither_landmarks_nor_audio(self):
        """What is padded lies outside the full frame, so the region grows by as much."""
        network, given, seen = tiny(), inputs(size=(24, 32)), []
        network.identity.register_forward_pre_hook(lambda _m, args: seen.append(args[-1]))
        network(**given, region=torch.tensor([[0.0, 0.25, 0.5, 1.0]]))
        torch.testing.assert_close(seen[0], torch.tensor([[0.0, 0.25, 0.5, 1.25]]).expand(3, 4))

    def test_layout(self):
        assert GAVN(**TINY).layout == Layout(3, 2, 'sequence')
        assert GAVN(**TINY, radius=2, inject=True).layout == Layout(5, 2, 'sequence')
        with pytest.raises(ValueError, match='inject'):
            _ = GAVN(**TINY, radius=2).layout

    def test_whole_clips_need_injection(self):
        given = inputs(outputs=6)
        assert tiny(inject=True)(**given).shape[1] == 6
        with pytest.raises(ValueError, match=r'10 frames.*inject'):
            tiny()(**given)

    def test_is_registered(self):
        importlib.import_module('gavn.archs.basicsr_archs')  # joins the registries
        assert ARCH_REGISTRY.get('GAVN') is GAVN

    def test_every_parameter_learns_but_offsets_of_the_start(self):
        """Offset features feed convolutions that are zero at first, so they learn from the second step on."""
        network = tiny(audio_map='decode', inject=True)
        network(**inputs()).square().mean().backward()
        still = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().any()}
        assert all('offset_conv' in name for name in still), still

    def test_landmarks_get_no_gradient(self):
        given = inputs()
        given['landmarks'].requires_grad_()
        tiny()(**given).sum().backward()
        assert given['landmarks'].grad is None

    def test_offsets_are_watched(self):
        network = tiny().train()
        network(**inputs())
        assert len(offset_magnitudes(network)) == 4

    def test_can_be_counted_without_being_computed(self):
        with torch.device('meta'):
            assert tiny()(**inputs(size=(64, 64))).shape == (1, 3, 3, 64, 64)

    def test_in_bfloat16(self):
        network, given = tiny(), inputs()
        with torch.autocast('cpu', torch.bfloat16):
            half = network(**given)
        torch.testing.assert_close(half.float(), network(**given), rtol=0.05, atol=0.05)


class TestBadInput:
    @pytest.mark.parametrize('option', ['share_align', 'attention', 'eq9', 'audio_map', 'gate', 'init'])
    def test_unknown_choice(self, option):
        with pytest.raises(ValueError, match=f"{option}: 'best' is not one of"):
            tiny(**{option: 'best'})

    def test_width_and_groups(self):
        with pytest.raises(ValueError, match='num_feat 8, deformable_groups 3'):
            tiny(deformable_groups=3)

    @pytest.mark.parametrize('name', ['audio', 'landmarks'])
    def test_missing_or_misplaced(self, name):
        given = inputs()
        with pytest.raises(ValueError, match=f'{name} is missing.*use_{name.rstrip("s")}'):
            tiny()(**{**given, name: None})
        with pytest.raises(ValueError, match=rf'{name} has the shape \(1, 2'):
            tiny()(**{**given, name: given[name][:, 1:]})

    def test_audio_window(self):
        with pytest.raises(ValueError, match=r'\(n, 1, 13, 20\), got \(1, 1, 13, 19\)'):
            AudioEncoder()(torch.zeros(1, 1, 13, 19))


class TestAblations:
    def test_stage_1_needs_no_audio(self):
        given = inputs()['lq']
        assert tiny()(given, temporal_only=True).shape == (1, 3, 3, 32, 32)
        assert tiny(use_identity=False)(given).shape == (1, 3, 3, 32, 32)

    @pytest.mark.parametrize(('option', 'name'), [('use_audio', 'audio'), ('use_landmark', 'landmarks')])
    def test_leaving_out(self, option, name):
        network, given = tiny(**{option: False}), inputs()
        without = {**given, name: None}
        assert torch.equal(network(**given), network(**without))
        full = tiny()
        assert not torch.equal(full(**given), full(**{**given, name: given[name] + 0.3}))

    def test_leaving_out_drops_the_parameters(self):
        with torch.device('meta'):
            full, deaf, blind = GAVN(), GAVN(use_audio=False), GAVN(use_landmark=False)
        assert count(deaf) == count(full) - 1_165_984 - 2 * (73_792 + 36_864)
        assert count(blind) == count(full) - 223_872 - 2 * (73_792 + 36_864)

    def test_stage_1_weights_open_stage_2(self):
        stage1, stage2 = tiny(use_identity=False), tiny()
        report = stage2.load_state_dict(stage1.state_dict(), strict=False)
        assert report.unexpected_keys == []
        new = {name for name in stage2.state_dict() if name.startswith(('identity.', 'reconstruction.sft'))}
        assert set(report.missing_keys) == new
        lq = inputs()['lq']
        torch.testing.assert_close(stage2(lq, temporal_only=True), stage1(lq))

    def test_stage_2_starts_where_stage_1_ended(self):
        network, given = tiny(), inputs()
        for transform in (network.reconstruction.sft1, network.reconstruction.sft2):
            nn.init.zeros_(transform.gamma.weight)
            nn.init.zeros_(transform.beta.weight)
        torch.testing.assert_close(network(**given), network(given['lq'], temporal_only=True))

    def test_feature_transform_is_near_the_identity_at_first(self):
        x, identity = torch.randn(2, 1, 64, 8, 8)
        change = FeatureTransform()(x, identity) - x
        assert 0 < change.std() < 0.2

    def test_temporal_skip_adds_the_frames_own_features(self):
        module = TemporalModule(8, 1, 2, temporal_skip=True)
        frames = torch.rand(1, 7, 3, 32, 32)
        levels = [level[None] for level in module.extractor(frames[0])]
        with_skip = module(levels)
        module.temporal_skip = False
        torch.testing.assert_close(with_skip, levels[0][:, 2:5] + module(levels))


class TestAttention:
    """Eq. 9 on 2x2 pixels and two channels, by hand."""

    OWN = torch.tensor([[[[1.0, 2.0], [0.0, -1.0]], [[0.5, 0.0], [1.0, 2.0]]]])
    Y = torch.tensor([[[[2.0, -1.0], [3.0, 1.0]], [[1.0, 4.0], [-2.0, 0.5]]]])
    PRODUCTS = torch.tensor([[[[2.0, -2.0], [0.0, -1.0]], [[0.5, 0.0], [-2.0, 1.0]]]])
    DOT = torch.tensor([[[[2.5, -2.0], [-2.0, 0.0]]]])

    @pytest.mark.parametrize('attention', ['dot', 'elementwise'])
    @pytest.mark.parametrize('eq9', ['similarity', 'literal'])
    def test_equation_9(self, attention, eq9):
        fusion = TemporalFusion(2, attention, eq9)
        for conv in (fusion.emb_ref, fusion.emb_nbr):
            nn.init.dirac_(conv.weight)
            nn.init.zeros_(conv.bias)
        seen = []
        fusion.fusion.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
        fusion(self.OWN, [self.Y, self.Y, self.OWN, self.Y, self.Y])
        weights = torch.sigmoid(self.DOT if attention == 'dot' else self.PRODUCTS)
        expected = (self.Y if eq9 == 'similarity' else self.OWN) * weights
        torch.testing.assert_close(seen[0][:, :2], expected)


class TestAlign:
    def test_has_edvrs_names_and_shapes(self):
        ours, edvr = Align(16, 4), PCDAlignment(16, 4)
        assert {k: v.shape for k, v in ours.state_dict().items()} == {
            k: v.shape for k, v in edvr.state_dict().items()
        }

    def test_finest_level_is_edvrs_alignment(self):
        ours, edvr = Align(8, 2), PCDAlignment(8, 2)
        for pack in (*edvr.dcn_pack.values(), edvr.cas_dcnpack):
            nn.init.normal_(pack.conv_offset.weight, std=0.2)
        ours.load_state_dict(edvr.state_dict())
        ref, nbr = ([torch.randn(1, 8, s, s) for s in (16, 8, 4)] for _ in range(2))
        aligned = ours(ref, nbr)
        assert [level.shape[-1] for level in aligned] == [16, 8, 4]
        torch.testing.assert_close(aligned[0], edvr(nbr, ref))


class TestPlaces:
    def test_heatmaps_peak_at_their_landmarks(self):
        landmarks = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])
        full = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        maps = render_heatmaps(landmarks, full, (112, 112))
        y, x = divmod(int(maps[0, 0].argmax()), 112)
        assert (x in (27, 28), y in (83, 84)) == (True, True)
        # pixel 56 has its centre half a pixel from the middle, the next one 1.5: sigma is 2 pixels
        ratio = maps[0, 1, 56, 57] / maps[0, 1, 56, 56]
        assert ratio.item() == pytest.approx(torch.exp(torch.tensor((0.25 - 2.25) / 8)).item(), rel=1e-4)
        assert maps.max() <= 1

    def test_heatmaps_of_a_region_are_a_cut_of_the_whole(self):
        landmarks, full = torch.rand(2, 68, 2), torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
        region = torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.0, 0.25, 0.5, 0.75]])
        whole, parts = (
            render_heatmaps(landmarks, full, (64, 64)),
            render_heatmaps(landmarks, region, (32, 32)),
        )
        torch.testing.assert_close(parts[0], whole[0, :, 32:64, 16:48])
        torch.testing.assert_close(parts[1], whole[1, :, 16:48, 0:32])

    def test_spots_are_round_in_frames_that_are_not_square(self):
        full = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        spot = render_heatmaps(torch.tensor([[[0.5, 0.5]]]), full, (56, 112))[0, 0]
        torch.testing.assert_close(spot[28, 56 + 3], spot[28 + 3, 56])

    @pytest.mark.parametrize('size', [(7, 7), (14, 14), (4, 6), (20, 9)])
    def test_the_full_region_is_plain_interpolation(self, size):
        maps = torch.randn(2, 3, 7, 7)
        full = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
        want = F.interpolate(maps, size, mode='bilinear', align_corners=False)
        torch.testing.assert_close(sample_region(maps, full, size), want, rtol=1e-4, atol=1e-5)

    def test_a_region_is_a_cut_of_the_full_frames_map(self):
        maps = torch.randn(1, 3, 7, 7)
        whole = sample_region(maps, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (14, 14))
        part = sample_region(maps, torch.tensor([[2 / 14, 4 / 14, 6 / 14, 8 / 14]]), (4, 4))
        torch.testing.assert_close(part, whole[..., 4:8, 2:6], rtol=1e-4, atol=1e-5)

    def test_a_gate_weighs_channels_or_pixels(self):
        features = [torch.randn(2, 8, 4, 4) for _ in range(3)]
        for gate, weights in (('channel', 8), ('pixel', 1)):
            fusion = IdentityModule(8, gate=gate).fuse1
            seen = []
            fusion.attend_audio.register_forward_hook(lambda *call, seen=seen: seen.append(call[-1]))
            assert fusion(*features).shape == (2, 8, 4, 4)
            assert seen[0].shape == (2, weights, 4, 4)

    def test_a_tiled_map_is_the_same_everywhere(self):
        module = IdentityModule(8, audio_map='tile').audio
        region = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        for level in module(torch.randn(1, 1, 13, 20), region, (16, 16)):
            inner = level[..., 1:-1, 1:-1]
            torch.testing.assert_close(inner, inner[..., :1, :1].expand_as(inner))

    def test_training_on_a_crop_sees_the_crop(self):
        network, given = tiny(), inputs()
        corner = network(**given, region=torch.tensor([[0.0, 0.0, 0.5, 0.5]]))
        assert not torch.allclose(corner, network(**given))
        whole = network(**given, region=torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
        assert torch.equal(whole, network(**given))


class TestAudioEncoder:
    def test_normalises_each_coefficient(self):
        encoder, audio = AudioEncoder(), torch.randn(2, 1, 13, 20)
        mean, std = torch.arange(13.0), torch.arange(1.0, 14.0)
        encoder.set_audio_statistics(torch.zeros(13), torch.ones(13))
        plain = encoder(audio)
        encoder.set_audio_statistics(mean, std)
        torch.testing.assert_close(encoder(audio * std[:, None] + mean[:, None]), plain)

    def test_silence_is_not_further_away_than_four_deviations(self):
        encoder = AudioEncoder()
        encoder.set_audio_statistics(torch.full((13,), 5.0), torch.full((13,), 4.0))
        windows = torch.full((1, 1, 13, 20), 5.0)
        windows[:, :, 0] = 5 - 4 * 4
        edge = encoder(windows)
        windows[:, :, 0] = -36.04
        torch.testing.assert_close(encoder(windows), edge)

    def test_statistics_travel_with_the_weights(self):
        network = tiny()
        network.identity.audio.encoder.set_audio_statistics(torch.ones(13), 2 * torch.ones(13))
        other = tiny()
        other.load_state_dict(network.state_dict())
        assert other.identity.audio.encoder.std.tolist() == [2.0] * 13

    @pytest.mark.parametrize(('mean', 'std'), [([0.0] * 12, [1.0] * 12), ([0.0] * 13, [1.0] * 12 + [0.0])])
    def test_refuses_statistics_that_cannot_be(self, mean, std):
        with pytest.raises(ValueError, match=r'positive|shape'):
            AudioEncoder().set_audio_statistics(mean, std)
