"""Attention and optical flow of VRT."""
import pytest
import torch
import torch.nn.functional as F
from basicsr.archs.spynet_arch import SpyNet
from torch import nn

from gavn.archs.spynet import warp
from gavn.archs.vrt_attention import Block, WindowAttention, Windows, relative_positions, sine_positions
from gavn.archs.vrt_flow import FlowPyramid, by_frame, neighbours, warp_four_nearest
from gavn.archs.vrt_stage import FoldPixels, UnfoldPixels
from gavn.ops.window_attention import WindowMasks, window_attention


class TestAttention:
    def test_is_scaled_dot_product_attention(self):
        q, k, v = torch.randn(5, 2, 12, 4), torch.randn(5, 2, 8, 4), torch.randn(5, 2, 8, 4)
        bias = torch.randn(2, 12, 8)
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        torch.testing.assert_close(window_attention(q, k, v, bias), expected)

    @pytest.mark.parametrize('chunk', [1, 1200, 2**21])
    def test_gradients(self, chunk, monkeypatch):
        monkeypatch.setattr('gavn.ops.window_attention.CHUNK_BYTES', {'cpu': chunk})
        masks = torch.zeros(2, 3, 3, dtype=torch.float64)
        masks[1, 0, 1] = masks[1, 1, 0] = -5
        masks = WindowMasks(masks, (0, 1))
        inputs = [torch.randn(4, 2, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        bias = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda *args: window_attention(*args, masks), (*inputs, bias))

    def test_relative_positions_tell_distances_apart(self):
        number = relative_positions((2, 3, 4))
        assert number.shape == (24, 24)
        assert sorted(set(number.flatten().tolist())) == list(range(3 * 5 * 7))
        assert number[0, 23] == 0  # one frame, two rows and three columns before
        assert len(set(number.diagonal().tolist())) == 1
        assert number[0, 1] == number[12, 13] == number[4, 5]  # a step of one column

    def test_sine_positions_are_all_different(self):
        positions = sine_positions((8, 8), 16)[0]
        assert positions.shape == (64, 16)
        assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.05

    @pytest.mark.parametrize('shifted', [False, True])
    def test_windows_come_apart_and_together(self, shifted):
        x = torch.randn(2, 5, 8, 12, 3)
        windows = Windows.over((5, 8, 12), (2, 4, 4), shifted)
        parts = windows.split(x)
        assert parts.shape == (2 * 3 * 2 * 3, 32, 3)
        assert torch.equal(windows.merge(parts, 5), x)

    def test_one_window_is_not_moved(self):
        assert Windows.over((6, 4, 8), (6, 4, 4), True).shift == (0, 0, 2)

    @pytest.mark.parametrize('mutual', [False, True])
    def test_nothing_is_seen_across_an_end(self, mutual):
        """With moved windows the first and last rows, columns and frames share one, but stay apart."""
        block = Block(8, (2, 4, 4), 2, True, mutual, 2, 0)
        for layer in (block.attn.proj, block.attn.qkv_self):
            nn.init.normal_(layer.weight)
        x = torch.randn(1, 4, 8, 8, 8, requires_grad=True)
        block(x)[0, 1, 0, 0].sum().backward()
        seen = x.grad[0].abs().sum(dim=3) > 1e-12
        assert seen[1:3, :2, :2].all()
        assert not seen[:, 2:].any()
        assert not seen[:, :, 2:].any()
        assert not seen[[0, 3]].any()

    def test_mutual_attention_brings_the_other_frames_content(self):
        attention = WindowAttention(4, (2, 2, 2), 1, True)
        nn.init.zeros_(attention.qkv_mut.weight)
        nn.init.eye_(attention.qkv_mut.weight.data[8:])  # values as they are, all pixels alike
        nn.init.zeros_(attention.qkv_mut.bias)
        nn.init.zeros_(attention.position_bias)
        attention.proj.weight.data = torch.cat([torch.eye(4), torch.zeros(4, 4)], dim=1)
        nn.init.zeros_(attention.proj.bias)
        x = torch.randn(1, 8, 4)
        result = attention(x, Windows((1, 1, 1), (2, 2, 2), (0, 0, 0)))
        first, second = x[0, :4].mean(dim=0), x[0, 4:].mean(dim=0)
        torch.testing.assert_close(result[0], torch.stack([first] * 4 + [second] * 4))


class TestFlow:
    def test_is_basicsrs_flow_at_the_finest_scale(self):
        network, stock = FlowPyramid(), SpyNet()
        network.load_state_dict(stock.state_dict())
        frames = torch.rand(2, 3, 3, 64, 96)
        flows = network(frames)
        assert [flow.shape for flow in flows] == [(2, 4, 2, 64 // s, 96 // s) for s in (1, 2, 4, 8)]
        for pair, (a, b) in enumerate([(0, 1), (1, 2), (1, 0), (2, 1)]):
            expected = stock.process(frames[:, a], frames[:, b])
            torch.testing.assert_close(flows[0][:, pair], expected, rtol=1e-4, atol=1e-5)

    def test_pairs(self):
        frames = torch.arange(3.0)[None, :, None]
        here, there = neighbours(frames)
        assert here.flatten().tolist() == [0, 1, 1, 2]
        assert there.flatten().tolist() == [1, 2, 0, 1]
        of_next, of_previous = by_frame(there)
        assert of_next.flatten().tolist() == [1, 2, 0]
        assert of_previous.flatten().tolist() == [0, 0, 1]

    def test_warping_by_whole_pixels(self):
        x, flow = torch.randn(1, 2, 6, 8), torch.zeros(1, 2, 6, 8)
        flow[:, 0], flow[:, 1] = 2, -1
        expected = F.pad(x[..., :-1, 2:], (0, 2, 1, 0))
        torch.testing.assert_close(warp(x, flow), expected, rtol=1e-4, atol=1e-5)
        four = warp_four_nearest(x, flow)
        assert torch.equal(four, expected.repeat(1, 4, 1, 1))

    def test_the_four_nearest_pixels(self):
        x, flow = torch.arange(16.0).view(1, 1, 4, 4), torch.zeros(1, 2, 4, 4)
        flow[:, 0], flow[:, 1] = 0.3, 1.6
        assert warp_four_nearest(x, flow)[0, :, 0, 1].tolist() == [5, 9, 6, 10]

    def test_folding(self):
        x = torch.randn(1, 2, 4, 6, 3)
        folded = FoldPixels()(x)
        assert torch.equal(folded[0, 0, 1, 2, :3], x[0, 0, 2, 4])
        assert UnfoldPixels()(folded).shape == x.shape
        assert torch.equal(UnfoldPixels()(folded).sort().values.sum(), x.sort().values.sum())
