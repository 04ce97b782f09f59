"""UNet3D against diffusers' UNet3DConditionModel, and what it refuses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from diffusers import UNet3DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pos.conversion.keys.unet3d import from_videocrafter, to_videocrafter, videocrafter_config
from pos.errors import PosError
from pos.networks.acceleration import channels_last
from pos.networks.layers.resampling import Upsample
from pos.networks.unet3d.blocks import ResnetBlock, TemporalTransformer
from pos.networks.unet3d.unet import UNet3D, unet3d_config
from tests.golden.recordings import fill

DIFFUSERS: dict[str, Any] = {
    "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "cross_attention_dim": 12,
    "attention_head_dim": 8,
}
SMALL: dict[str, Any] = {
    "block_out_channels": [32, 64], "attention_levels": [True, False], "layers_per_block": 1, "head_dim": 8,
    "cross_attention_dim": 12,
}  # fmt: skip
LVDM: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "model_channels": 32, "attention_resolutions": [1],
    "num_res_blocks": 1, "channel_mult": [1, 2], "num_head_channels": 8, "context_dim": 12,
    "temporal_conv": True, "use_relative_position": True, "temporal_length": 3, "addition_attention": True,
    "fps_cond": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def inputs(batch: int, frames: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, 4, frames, height, width, generator=generator)
    timesteps = torch.randint(1000, (batch,), generator=generator)
    return latents, timesteps, torch.randn(batch, 5, 12, generator=generator)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert float((actual - expected).norm() / expected.norm()) < tolerance


@pytest.fixture(scope="module")
def pair() -> tuple[UNet3D, UNet3DConditionModel]:
    theirs = fill(UNet3DConditionModel(**DIFFUSERS))
    ours = UNet3D(**unet3d_config(theirs.config)).eval()
    ours.load_state_dict(theirs.state_dict())
    channels_last(ours)
    return ours, theirs


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 3), frames=st.integers(1, 5), height=st.integers(3, 9), width=st.integers(3, 9),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_equals_diffusers_at_any_size(
    pair, batch: int, frames: int, height: int, width: int, seed: int
) -> None:
    """Also at sizes that the levels do not divide."""
    ours, theirs = pair
    latents, timesteps, context = inputs(batch, frames, height, width, seed)
    close(ours(latents, timesteps, context), theirs(latents, timesteps, context).sample)


def test_what_starts_at_zero_does_in_diffusers() -> None:
    ours, theirs = UNet3D(**SMALL).state_dict(), UNet3DConditionModel(**DIFFUSERS).state_dict()
    assert all(bool(tensor.any()) == bool(ours[name].any()) for name, tensor in theirs.items())


def test_videos_of_a_batch_do_not_see_each_other(pair) -> None:
    ours, _ = pair
    latents, timesteps, context = inputs(3, 4, 8, 8)
    close(ours(latents, timesteps, context)[1:2], ours(latents[1:2], timesteps[1:2], context[1:2]))


class Watch(TorchDispatchMode):
    """Which operations run, and whether every convolution finds maps and weights as it wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.laid_out = Counter(), set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names[operation.overloadpacket] += 1
        if operation.overloadpacket is torch.ops.aten.convolution:
            wanted = torch.channels_last
            self.laid_out |= {tensor.is_contiguous(memory_format=wanted) for tensor in args[:2]}
        return operation(*args, **(kwargs or {}))


def test_maps_stay_channels_last_and_are_hardly_copied(pair) -> None:
    """Copied are the latents, the tokens of temporal transformers, the doubled maps and the time's shifts."""
    ours, _ = pair
    args = inputs(2, 3, 8, 8)
    with Watch() as seen:
        ours(*args)
    assert seen.laid_out == {True}
    kinds = Counter(type(module) for module in ours.modules())
    allowed = 2 + kinds[TemporalTransformer] + kinds[Upsample] + kinds[ResnetBlock]
    assert seen.names[torch.ops.aten.clone] <= allowed
    assert seen.names[torch.ops.aten.copy_] == 0


def test_the_compiler_takes_it_whole(pair) -> None:
    ours, _ = pair
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    args = inputs(1, 2, 8, 8)
    torch.testing.assert_close(compiled(*args), ours(*args))


def test_the_frame_rate_counts_for_each_video() -> None:
    network = fill(UNet3D(**SMALL, fps_embedding=True))
    latents, timesteps, context = inputs(2, 2, 8, 8)
    both = network(latents, timesteps, context, fps=torch.tensor([8, 24]))
    slow, fast = (network(latents, timesteps, context, fps=torch.tensor([fps] * 2)) for fps in (8, 24))
    close(both[:1], slow[:1])
    close(both[1:], fast[1:])
    assert not torch.allclose(slow, fast, atol=1e-2)


@pytest.mark.parametrize(
    ("embeds", "fps", "told"), [(True, None, "needs fps"), (False, 8, "no embedding of fps")]
)
def test_a_frame_rate_where_it_belongs(embeds: bool, fps: int | None, told: str) -> None:
    network = UNet3D(**SMALL, fps_embedding=embeds)
    rates = None if fps is None else torch.tensor([fps])
    with pytest.raises(PosError, match=told):
        network(*inputs(1, 2, 8, 8), fps=rates)


def test_distances_beyond_the_longest_count_as_the_longest() -> None:
    """A network that knows distances up to 2 is one that knows more, all of them alike beyond 2."""
    short, long = (fill(UNet3D(**SMALL, temporal_conv=False, relative_positions=d)) for d in (2, 4))
    state = dict(short.state_dict())
    for name, table in state.items():
        if name.endswith("embeddings_table"):
            state[name] = torch.cat([table[:1]] * 2 + [table] + [table[-1:]] * 2)
    long.load_state_dict(state)
    close(long(*inputs(1, 5, 4, 4)), short(*inputs(1, 5, 4, 4)))


def test_relative_positions_tell_the_order_of_frames() -> None:
    """Without them, and without temporal convolutions, frames are a set."""
    latents, timesteps, context = inputs(1, 4, 4, 4)
    for longest in (None, 3):
        network = fill(UNet3D(**SMALL, temporal_conv=False, relative_positions=longest))
        straight, back = network(latents, timesteps, context), network(latents.flip(2), timesteps, context)
        assert torch.allclose(straight, back.flip(2), atol=1e-4) == (longest is None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"attention_levels": [True]}, "one entry for each level"),
        ({"block_out_channels": [32, 48]}, "48 channels cannot be split into 32 groups"),
        ({"head_dim": 24}, "heads of 24"),
    ],
)
def test_levels_that_do_not_agree(change: dict[str, Any], told: str) -> None:
    with pytest.raises(PosError, match=told):
        UNet3D(**{**SMALL, **change})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"act_fn": "gelu"}, "act_fn"),
        ({"out_channels": 8}, "4 channels in and 8 out"),
        ({"up_block_types": ["CrossAttnUpBlock3D", "UpBlock3D"]}, "ModelScope's layout"),
    ],
)
def test_other_layouts_of_diffusers(change: dict[str, Any], told: str) -> None:
    with pytest.raises(PosError, match=told):
        unet3d_config({"in_channels": 4, **DIFFUSERS, **change})


def test_videocrafters_names_there_and_back() -> None:
    network = fill(UNet3D(**videocrafter_config(LVDM)))
    theirs = to_videocrafter(network.state_dict(), network)
    assert "input_blocks.1.0.temopral_conv.conv1.0.weight" in theirs  # their spelling
    assert theirs["init_attn.0.proj_in.weight"].shape == (64, 32, 1)
    back = from_videocrafter(theirs, network)
    assert back.keys() == network.state_dict().keys()
    assert all(tensor.equal(back[name]) for name, tensor in network.state_dict().items())


def test_a_weight_that_videocrafter_lacks() -> None:
    network = UNet3D(**videocrafter_config(LVDM))
    with pytest.raises(PosError, match=r"'input_blocks\.99\.0\.weight' is unknown"):
        from_videocrafter({"input_blocks.99.0.weight": torch.zeros(1)}, network)


@pytest.mark.parametrize("change", [{"use_causal_attention": True}, {"channel_mult": [2, 1]}])
def test_a_configuration_that_videocrafter_lacks(change: dict[str, Any]) -> None:
    with pytest.raises(PosError, match=next(iter(change))):
        videocrafter_config({**LVDM, **change})
