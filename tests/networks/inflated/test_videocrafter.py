"""VideoCrafter v0.9's network: its positions, its configuration and its key map, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pos.conversion.keys.videocrafter09 import from_videocrafter09, to_videocrafter09
from pos.errors import PosError
from pos.networks.inflated.scvideo import save_unet
from pos.networks.inflated.videocrafter import (
    RelativeTemporalAttention,
    VideoCrafter09UNet,
    videocrafter09_config,
)
from pos.networks.weights import rebuild
from tests.backbones.published import drawn

PUBLISHED = {
    "image_size": 8, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_heads": 4, "transformer_depth": 1,
    "context_dim": 12, "legacy": False, "kernel_size_t": 1, "padding_t": 0, "temporal_length": 3,
    "use_relative_position": True,
}  # fmt: skip


def network(**changes: object) -> VideoCrafter09UNet:
    return drawn(VideoCrafter09UNet(**videocrafter09_config({**PUBLISHED, **changes})), seed=0)


@pytest.fixture(scope="module")
def unet() -> VideoCrafter09UNet:
    return network()


def inputs(frames: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, frames, 8, 6, generator=rng)
    return latents, torch.tensor([17.0, 801.0]), torch.randn(2, 7, 12, generator=rng)


@torch.no_grad()
def test_the_key_map_goes_there_and_back(unet: VideoCrafter09UNet) -> None:
    ours = unet.state_dict()
    theirs = to_videocrafter09(ours, unet)
    assert len(theirs) == len(ours)
    assert theirs["input_blocks.0.0.weight"].shape == (32, 4, 1, 3, 3)
    table = "middle_block.1.transformer_blocks.0.attn2_tmp.relative_position_v.embeddings_table"
    assert torch.equal(theirs[table], ours[table.replace("middle_block.1", "mid_block.attentions.0")])
    # The upsampler is behind the transformer of a level that has one, else behind its resnet.
    assert "output_blocks.1.2.conv.weight" in theirs
    plain = network(attention_resolutions=[1])
    assert "output_blocks.1.1.conv.weight" in to_videocrafter09(plain.state_dict(), plain)
    back = from_videocrafter09(theirs, unet)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    with pytest.raises(PosError, match=r"label_emb\.weight"):
        from_videocrafter09({**theirs, "label_emb.weight": torch.zeros(1)}, unet)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 9])
def test_any_number_of_frames(unet: VideoCrafter09UNet, frames: int) -> None:
    latents, timesteps, context = inputs(frames)
    assert unet(latents, timesteps, context).shape == latents.shape


@torch.no_grad()
def test_distances_beyond_the_longest_are_the_longest() -> None:
    """With keys and queries of zero all frames weigh the same: what differs is the distances' values."""
    attention = drawn(RelativeTemporalAttention(8, heads=2, longest=2), seed=1)
    for part in (attention.to_q, attention.to_k, attention.to_v):
        part.weight.zero_()
    frames = 6
    out = attention(torch.zeros(1, frames, 1, 8))[0, :, 0]
    table = attention.relative_position_v.embeddings_table
    means = torch.stack(
        [
            sum(table[min(max(other - own, -2), 2) + 2] for other in range(frames)) / frames
            for own in range(frames)
        ]
    )
    torch.testing.assert_close(out, attention.to_out[0](means.repeat(1, 2)))


@torch.no_grad()
def test_all_norms_are_joint_over_the_frames(unet: VideoCrafter09UNet) -> None:
    """A norm per frame undoes a frame's own scale, a joint one does not: every norm is asked with one."""
    norms = {name: module for name, module in unet.named_modules() if hasattr(module, "joint")}
    assert len(norms) == 2 * 8 + 4 + 1  # of eight resnets, the transformers and the output
    for name, norm in norms.items():
        maps = torch.randn(3, norm.num_channels, 4, 4, generator=torch.Generator().manual_seed(2))
        scaled = maps * torch.tensor([1.0, 1.0, 5.0])[:, None, None, None]
        moved = (norm(scaled, 3) - norm(maps, 3)).abs().amax(dim=(1, 2, 3))
        assert (moved > 0.05).all(), name


def test_heads_by_number_or_by_width() -> None:
    assert videocrafter09_config(PUBLISHED)["heads"] == [4, 4]
    by_width = {**PUBLISHED, "num_heads": -1, "num_head_channels": 16}
    assert videocrafter09_config(by_width)["heads"] == [2, 4]


@torch.no_grad()
def test_several_blocks_and_no_positions(unet: VideoCrafter09UNet) -> None:
    deeper = network(transformer_depth=2)
    assert len(deeper.mid_block.attentions[0].transformer_blocks) == 2
    plain = network(use_relative_position=False)
    missing = set(unet.state_dict()) - set(plain.state_dict())
    assert missing
    assert all("relative_position" in name for name in missing)
    latents, timesteps, context = inputs()
    backwards = plain(latents.flip(2), timesteps, context).flip(2)
    torch.testing.assert_close(backwards, plain(latents, timesteps, context), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(
        unet(latents.flip(2), timesteps, context).flip(2), unet(latents, timesteps, context), atol=1e-2
    )


@pytest.mark.parametrize("change", [{"kernel_size_t": 3}, {"resblock_updown": True}, {"out_channels": 8}])
def test_other_networks_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(PosError, match=next(iter(change))):
        videocrafter09_config({**PUBLISHED, **change})


@torch.no_grad()
def test_the_file_rebuilds_the_network(unet: VideoCrafter09UNet, tmp_path: Path) -> None:
    save_unet(unet, tmp_path / "unet.safetensors")
    again = rebuild(VideoCrafter09UNet, tmp_path / "unet.safetensors")
    assert again.config == unet.config
    torch.testing.assert_close(again(*inputs()), unet(*inputs()), rtol=0.05, atol=0.05)  # stored in half


@pytest.mark.slow
@torch.no_grad()
def test_compiles_as_one_graph(unet: VideoCrafter09UNet) -> None:
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs()), unet(*inputs()))
