"""Retrieval rates on embeddings whose neighbours are known, and a contrastive step."""

import pytest
import torch

from pos.training.clip import ClipTask, retrieval
from pos.training.task import Optimization


def test_retrieval_counts_the_very_clip_and_clips_alike():
    clips = torch.eye(6)
    texts = clips[[0, 1, 2, 4, 3, 5]]  # texts 3 and 4 find each other's clip
    attributes = torch.arange(6)[:, None].repeat(1, 6)
    attributes[4] = attributes[3]  # which for these two are described alike
    rates = retrieval(texts, clips, attributes)
    assert rates["text-to-clip R@1"] == pytest.approx(4 / 6)
    assert rates["text-to-clip R@1, attributes"] == 1
    assert rates["clips"] == 6
    attributes[4, 2] = 0
    assert retrieval(texts, clips, attributes)["text-to-clip R@1, attributes"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("temporal", [True, False])
def test_a_pair_is_learnt(temporal):
    torch.manual_seed(0)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    visual = {"widths": [8, 8, 8], "dim": 32, "grid": 4, **({"layers": 1} if temporal else {})}
    task = ClipTask(text, visual, 16, temporal, Optimization(learning_rate=1e-2), 0, None if temporal else 1)
    task.log_dict = lambda *_, **__: None
    task.generator = lambda seed: torch.Generator().manual_seed(seed)
    task._trainer = type("T", (), {"world_size": 1, "global_rank": 0, "global_step": 0})()
    task.on_fit_start()
    noise = torch.Generator().manual_seed(0)
    tones = torch.randint(0, 256, (4, 1, 3, 4, 4), generator=noise, dtype=torch.uint8)
    batch = {
        "videos": tones.repeat(1, 2, 1, 16, 16),
        "input_ids": torch.tensor([[1, 300 + i, 2, 0] for i in range(4)]),
        "attributes": torch.arange(4)[:, None].repeat(1, 6),
    }
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = task.training_step(batch, 0)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.9  # chance is log(4) = 1.39
    seen = {}
    task.log_dict = seen.update
    task.eval()
    with torch.no_grad():
        task.on_validation_epoch_start()
        task.validation_step(batch, 0)
        task.on_validation_epoch_end()
    assert seen["text-to-clip R@1"] == 1
