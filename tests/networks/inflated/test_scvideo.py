"""The inflated UNet against the image UNet it comes from, and against its own definition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from pos.errors import PosError
from pos.networks.inflated.blocks import SparseCausalAttention, TemporalConv
from pos.networks.inflated.scvideo import InflatedUNet, OrderedTemporalAttention, unet2d_config

GOLDEN = Path(__file__).parents[2] / "golden" / "backbones"
FRAMES = 5


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights without structure, so that no layer is the identity by its initialisation."""
    rng = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.3)
    return module.eval()


@pytest.fixture(scope="module")
def image_unet() -> UNet2DConditionModel:
    model = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12, attention_head_dim=2, norm_num_groups=8,
    )  # fmt: skip
    return randomise(model)


@pytest.fixture
def tiny() -> InflatedUNet:
    unet = InflatedUNet(4, (16, 32), (True, True), 1, (2, 2), 12, groups=8, feed_forward=2)
    return randomise(unet)


def inputs(frames: int = FRAMES) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = generator(1)
    latents = torch.randn(2, 4, frames, 8, 8, generator=rng)
    return latents, torch.tensor([17.0, 801.0]), torch.randn(2, 7, 12, generator=rng)


@torch.no_grad()
def test_equals_the_image_model_on_identical_frames(image_unet: UNet2DConditionModel) -> None:
    video_unet = InflatedUNet(**unet2d_config(image_unet.config)).eval()
    new = video_unet.load_unet2d(image_unet.state_dict())
    assert set(new) == set(video_unet.state_dict()) - set(image_unet.state_dict())
    latents, timesteps, context = inputs()
    still = latents[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    wanted = image_unet(still[:, :, 0], timesteps, context).sample
    output = video_unet(still, timesteps, context)
    assert (output - wanted[:, :, None]).norm() < 1e-5 * output.norm()
    moving = video_unet(latents, timesteps, context)
    assert not torch.allclose(
        moving[:, :, 1], image_unet(latents[:, :, 1], timesteps, context).sample, atol=1e-3
    )


@torch.no_grad()
def test_one_frame_is_the_image_model(image_unet: UNet2DConditionModel) -> None:
    video_unet = InflatedUNet(**unet2d_config(image_unet.config)).eval()
    video_unet.load_unet2d(image_unet.state_dict())
    latents, timesteps, context = inputs(frames=1)
    wanted = image_unet(latents[:, :, 0], timesteps, context).sample
    torch.testing.assert_close(video_unet(latents, timesteps, context)[:, :, 0], wanted, rtol=1e-5, atol=1e-5)


def test_names_and_shapes_are_those_of_stable_diffusion() -> None:
    published = json.loads((GOLDEN / "keys_diffusers_unet2d_sd14.json").read_text())["state_dict"]
    with torch.device("meta"):
        unet = InflatedUNet(4, (320, 640, 1280, 1280), (True, True, True, False), 2, (8,) * 4, 768)
    own = {name: list(value.shape) for name, value in unet.state_dict().items()}
    assert {name: shape for name, shape in own.items() if not InflatedUNet.is_new(name)} == published
    new = [name for name in own if InflatedUNet.is_new(name)]
    # Two parameters for each resnet's temporal convolution, seven for a temporal attention and its norm.
    assert len(new) == 22 * 2 + 16 * 2 * 7
    assert own["mid_block.temp_convs.0.weight"] == [1280, 1280, 3, 1, 1]


def test_loading_names_what_does_not_fit(image_unet: UNet2DConditionModel) -> None:
    unet = InflatedUNet(**unet2d_config(image_unet.config))
    weights = image_unet.state_dict()
    with pytest.raises(PosError, match=r"lacks 1 weights.*conv_in\.bias"):
        unet.load_unet2d({name: value for name, value in weights.items() if name != "conv_in.bias"})
    with pytest.raises(PosError, match=r"unknown 1 weights.*class_embedding"):
        unet.load_unet2d({**weights, "class_embedding.weight": torch.zeros(1)})
    with pytest.raises(PosError, match=r"other shapes for 1 weights.*conv_out\.bias"):
        unet.load_unet2d({**weights, "conv_out.bias": torch.zeros(5)})


def test_only_the_stable_diffusion_layout_is_inflated(image_unet: UNet2DConditionModel) -> None:
    with pytest.raises(PosError, match=r"1\.x layout"):
        unet2d_config({**image_unet.config, "use_linear_projection": True})


@torch.no_grad()
def test_the_temporal_convolution_is_a_conv3d() -> None:
    layer = TemporalConv(6)
    maps = torch.randn(2 * FRAMES, 6, 4, 3, generator=generator(2))
    torch.testing.assert_close(layer(maps, FRAMES), maps)
    randomise(layer)
    video = maps.unflatten(0, (2, FRAMES)).transpose(1, 2)
    wanted = torch.nn.functional.conv3d(video, layer.weight, layer.bias, padding=(1, 0, 0))
    output = layer(maps, FRAMES).unflatten(0, (2, FRAMES)).transpose(1, 2)
    torch.testing.assert_close(output, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_sparse_causal_attention_looks_at_the_first_and_the_previous_frame() -> None:
    layer = randomise(SparseCausalAttention(8, heads=2))
    tokens = torch.randn(2, FRAMES, 3, 8, generator=generator(3))
    before = layer(tokens)
    for changed in range(FRAMES):
        altered = tokens.clone()
        altered[:, changed] += 1.0
        moved = (layer(altered) - before).abs().amax(dim=(0, 2, 3)) > 1e-6
        seen_by = {frame for frame in range(FRAMES) if changed in (0, frame - 1) or frame == changed}
        assert set(moved.nonzero().flatten().tolist()) == seen_by
    # A frame after the first only queries: without its query it does not change its own output.
    layer.to_q.weight.zero_()
    altered = tokens.clone()
    altered[:, 2] += 1.0
    moved = (layer(altered) - layer(tokens)).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [3]


@torch.no_grad()
def test_temporal_attention_starts_at_zero_and_knows_the_order_of_frames() -> None:
    layer = OrderedTemporalAttention(8, heads=2)
    tokens = torch.randn(2, FRAMES, 3, 8, generator=generator(4))
    assert layer(tokens).abs().max() == 0
    randomise(layer)
    assert not torch.allclose(layer(tokens.flip(1)).flip(1), layer(tokens), atol=1e-4)
    altered = tokens.clone()
    altered[:, :, 0] += 1.0
    moved = (layer(altered) - layer(tokens)).abs().amax(dim=(0, 1, 3)) > 1e-6
    assert moved.tolist() == [True, False, False]  # places do not mix


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 16])
def test_any_number_of_frames(tiny: InflatedUNet, frames: int) -> None:
    latents, timesteps, context = inputs(frames=frames)
    assert tiny(latents, timesteps, context).shape == latents.shape


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 4), (5, 7), (1, 3)])
def test_any_height_and_width(image_unet: UNet2DConditionModel, size: tuple[int, int]) -> None:
    video_unet = InflatedUNet(**unet2d_config(image_unet.config)).eval()
    video_unet.load_unet2d(image_unet.state_dict())
    _, timesteps, context = inputs()
    latents = torch.randn(2, 4, 1, *size, generator=generator(5))
    wanted = image_unet(latents[:, :, 0], timesteps, context).sample
    torch.testing.assert_close(video_unet(latents, timesteps, context)[:, :, 0], wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_samples_of_a_batch_do_not_mix(tiny: InflatedUNet) -> None:
    latents, timesteps, context = inputs()
    both = tiny(latents, timesteps, context)
    for row in range(2):
        alone = tiny(latents[row : row + 1], timesteps[row : row + 1], context[row : row + 1])
        torch.testing.assert_close(both[row : row + 1], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_text_and_time_and_later_frames_are_seen(tiny: InflatedUNet) -> None:
    latents, timesteps, context = inputs()
    base = tiny(latents, timesteps, context)
    assert not torch.allclose(tiny(latents, timesteps, context + 1), base, atol=1e-4)
    assert not torch.allclose(tiny(latents, timesteps + 50, context), base, atol=1e-4)
    altered = latents.clone()
    altered[:, :, -1] += 1.0
    assert not torch.allclose(tiny(altered, timesteps, context)[:, :, 0], base[:, :, 0], atol=1e-5)


def test_gradient_checkpointing_changes_no_gradient(tiny: InflatedUNet) -> None:
    tiny.train()
    gradients = []
    for switch in (False, True):
        tiny.gradient_checkpointing = switch
        tiny.zero_grad()
        tiny(*inputs()).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in tiny.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-4, atol=1e-6)


def test_trainable_subsets(tiny: InflatedUNet) -> None:
    chosen = {id(parameter) for parameter in tiny.trainable_parameters("scvideo")}
    names = {name for name, parameter in tiny.named_parameters() if id(parameter) in chosen}
    block = "mid_block.attentions.0.transformer_blocks.0"
    for name in ("attn1.to_q.weight", "attn2.to_out.0.bias", "attn_temp2.to_k.weight", "norm_temp1.weight"):
        assert f"{block}.{name}" in names
    assert "up_blocks.1.temp_convs.1.weight" in names
    frozen = {"conv_in.weight", "mid_block.resnets.0.conv1.weight", f"{block}.ff.net.2.weight"}
    assert frozen.isdisjoint(names)
    assert len(tiny.trainable_parameters("all")) == len(list(tiny.parameters()))
    with pytest.raises(PosError, match="'some' is unknown"):
        tiny.trainable_parameters("some")


@pytest.mark.parametrize(
    ("widths", "heads", "message"),
    [((16, 32), (2,), "one entry"), ((16, 30), (2, 2), "30 channels"), ((16, 32), (2, 3), "3 heads")],
)
def test_bad_sizes(widths: tuple[int, ...], heads: tuple[int, ...], message: str) -> None:
    with pytest.raises(PosError, match=message):
        InflatedUNet(4, widths, (True, True), 1, heads, 12, groups=8)


@pytest.mark.slow
@torch.no_grad()
def test_compiles_as_one_graph(tiny: InflatedUNet) -> None:
    compiled = torch.compile(tiny, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs()), tiny(*inputs()))
