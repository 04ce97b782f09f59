"""Tune-A-Video's network against the image UNet it comes from; what it starts from and what it trains."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from pos.errors import PosError
from pos.networks.inflated.scvideo import InflatedUNet, save_unet, unet2d_config
from pos.networks.inflated.tuneavideo import TuneAVideoUNet, tuneavideo_config
from pos.networks.weights import rebuild
from tests.backbones.published import drawn, image_unet

FRAMES = 4
BLOCK = "mid_block.attentions.0.transformer_blocks.0"


@pytest.fixture(scope="module")
def image_model() -> UNet2DConditionModel:
    return image_unet()


def inflated(image_model: UNet2DConditionModel, temporal_convs: bool = False) -> TuneAVideoUNet:
    torch.manual_seed(0)  # the temporal attention's output bias starts anywhere
    unet = TuneAVideoUNet(**unet2d_config(image_model.config), temporal_convs=temporal_convs).eval()
    unet.load_unet2d(image_model.state_dict())
    return unet


def inputs(frames: int = FRAMES) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, frames, 8, 6, generator=rng)
    return latents, torch.tensor([17.0, 801.0]), torch.randn(2, 7, 12, generator=rng)


def without_output_biases(unet: TuneAVideoUNet) -> TuneAVideoUNet:
    for name, parameter in unet.named_parameters():
        if "attn_temp.to_out" in name:
            torch.nn.init.zeros_(parameter)
    return unet


@torch.no_grad()
@pytest.mark.parametrize("temporal_convs", [False, True])
def test_it_starts_as_the_image_model_but_for_one_bias(
    image_model: UNet2DConditionModel, temporal_convs: bool
) -> None:
    unet = inflated(image_model, temporal_convs)
    outputs = {name: value for name, value in unet.state_dict().items() if "attn_temp.to_out" in name}
    assert all((value == 0).all() == name.endswith("weight") for name, value in outputs.items())
    latents, timesteps, context = inputs()
    still = latents[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    wanted = image_model(still[:, :, 0], timesteps, context).sample[:, :, None]
    error = (unet(still, timesteps, context) - wanted).norm() / wanted.norm() / FRAMES**0.5
    assert 1e-3 < error < 0.5
    exact = without_output_biases(unet)(still, timesteps, context)
    assert (exact - wanted).norm() < 1e-5 * exact.norm()


@torch.no_grad()
def test_frames_that_differ_share_their_norms(image_model: UNet2DConditionModel) -> None:
    unet = without_output_biases(inflated(image_model))
    latents, timesteps, context = inputs()
    latents[:, :, 0] *= 3
    alone = image_model(latents[:, :, 0], timesteps, context).sample
    first = unet(latents, timesteps, context)[:, :, 0]  # its attention sees no other frame
    assert (first - alone).norm() > 0.01 * alone.norm()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 9])
def test_the_temporal_attention_knows_no_order_but_sees_all_frames(
    image_model: UNet2DConditionModel, frames: int
) -> None:
    unet = drawn(inflated(image_model), seed=2)
    attention = unet.mid_block.attentions[0].transformer_blocks[0].attn_temp
    tokens = torch.randn(2, frames, 3, 16, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(attention(tokens.flip(1)).flip(1), attention(tokens), rtol=1e-4, atol=1e-6)
    moved = tokens.clone()
    moved[:, -1] += 1
    assert ((attention(moved) - attention(tokens)).abs().amax(dim=(0, 2, 3)) > 1e-6).all()


def test_the_temporal_convolutions_are_an_option(image_model: UNet2DConditionModel) -> None:
    plain, retrained = inflated(image_model), inflated(image_model, temporal_convs=True)
    more = set(retrained.state_dict()) - set(plain.state_dict())
    assert more
    assert all(".temp_convs." in name for name in more)
    assert len(more) == 2 * sum(name.endswith("conv1.weight") for name in plain.state_dict())


@torch.no_grad()
def test_the_file_rebuilds_the_network(image_model: UNet2DConditionModel, tmp_path) -> None:
    unet = drawn(inflated(image_model, temporal_convs=True), seed=4).half().float()
    save_unet(unet, tmp_path / "unet.safetensors")
    again = rebuild(TuneAVideoUNet, tmp_path / "unet.safetensors")
    assert again.config == unet.config
    torch.testing.assert_close(again(*inputs()), unet(*inputs()))
    with pytest.raises(PosError, match="not one of InflatedUNet"):
        rebuild(InflatedUNet, tmp_path / "unet.safetensors")


def test_trainable_subsets(image_model: UNet2DConditionModel) -> None:
    unet = inflated(image_model, temporal_convs=True)

    def names(subset: str) -> set[str]:
        chosen = {id(parameter) for parameter in unet.trainable_parameters(subset)}
        return {name for name, parameter in unet.named_parameters() if id(parameter) in chosen}

    block = {name.removeprefix(f"{BLOCK}.") for name in names("tuneavideo") if name.startswith(BLOCK)}
    temporal = {f"attn_temp.{part}" for part in ("to_q.weight", "to_k.weight", "to_v.weight")}
    temporal |= {"attn_temp.to_out.0.weight", "attn_temp.to_out.0.bias"}
    assert block == {"attn1.to_q.weight", "attn2.to_q.weight", *temporal}
    assert all("transformer_blocks" in name for name in names("tuneavideo"))
    more = names("retrained") - names("tuneavideo")
    assert {f"{BLOCK}.attn1.to_k.weight", f"{BLOCK}.norm_temp.bias", "mid_block.temp_convs.1.bias"} <= more
    kept = {"conv_in.weight", "mid_block.resnets.0.conv1.weight", f"{BLOCK}.ff.net.2.weight"}
    assert kept.isdisjoint(names("retrained"))
    assert names("tuneavideo") < names("retrained") < names("all")
    with pytest.raises(PosError, match="'scvideo' is unknown to TuneAVideoUNet: choose tune"):
        unet.trainable_parameters("scvideo")


def test_gradients_reach_all_of_a_subset_with_and_without_checkpointing(
    image_model: UNet2DConditionModel,
) -> None:
    unet = drawn(inflated(image_model, temporal_convs=True), seed=5).train().requires_grad_(False)
    trained = unet.trainable_parameters("retrained")
    gradients = []
    for switch in (False, True):
        unet.gradient_checkpointing = switch
        for parameter in trained:
            parameter.requires_grad_(True).grad = None
        unet(*inputs()).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in trained])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(recomputed, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_linear_projection": True}, "use_linear_projection"),
        ({"down_block_types": ["CrossAttnDownBlock2D"]}, "CrossAttnDownBlock2D"),
        ({"out_channels": 8}, "out_channels"),
    ],
)
def test_other_networks_are_refused(change: dict[str, object], message: str) -> None:
    config = {
        "in_channels": 4, "block_out_channels": [8], "down_block_types": ["DownBlock3D"],
        "layers_per_block": 1, "attention_head_dim": 2, "cross_attention_dim": 12, "norm_num_groups": 4,
    }  # fmt: skip
    assert tuneavideo_config(config)["heads"] == [2]
    with pytest.raises(PosError, match=message):
        tuneavideo_config({**config, **change})


@torch.no_grad()
def test_compiles_as_one_graph(image_model: UNet2DConditionModel) -> None:
    unet = inflated(image_model, temporal_convs=True)
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs()), unet(*inputs()))
