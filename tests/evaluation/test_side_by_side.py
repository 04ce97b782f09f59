"""The original packages and ours on the same folders, with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pos.data.benchmarks.real_videos import RealVideos
from pos.data.video.reading import read_video
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.detectors.paper import InceptionFeatures
from pos.evaluation.frames import Frames
from pos.evaluation.real import RealStatistics
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from pos.networks.detectors.inception import FIDInception
from pos.profiling.metrics import clean_fid_model
from tests.golden.rebuilt import blocky, rule_tensor

cleanfid = pytest.importorskip("cleanfid.fid")
FRAMES = Frames(images=range(2), clip=1)


@pytest.fixture(scope="module")
def inception() -> FIDInception:
    network = FIDInception()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(rule_tensor(name, tensor.shape, "beside", 2**0.5))
    return network.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of two frames each, as folders of images."""
    folder = tmp_path_factory.mktemp("videos")
    for index, video in enumerate(blocky(5, (3, 2, 70, 110), 10)):
        (folder / f"{index}").mkdir()
        for number, frame in enumerate(video.permute(0, 2, 3, 1).numpy()):
            Image.fromarray(np.ascontiguousarray(frame)).save(folder / f"{index}" / f"{number}.png")
    return folder


def test_a_folder_has_the_features_that_clean_fid_gives_it(inception, folder, tmp_path):
    model = clean_fid_model(inception)
    options = {"mode": "clean", "num_workers": 0, "device": torch.device("cpu"), "verbose": False}
    expected = torch.from_numpy(cleanfid.get_folder_features(str(folder), model, **options))
    detector = InceptionFeatures(inception)
    videos = [read_video(path, 2, None, 1) for path in sorted(folder.iterdir())]
    assert torch.allclose(detector.detect(videos).flatten(0, 1), expected, atol=1e-5)
    assert expected.std(0).max() > 1e-2
    statistics = RealStatistics(
        RealVideos.of_folder(folder), Detectors(fid=detector), tmp_path, FRAMES
    ).compute()
    assert torch.allclose(statistics.statistics["fid"].mean, expected.double().mean(0), atol=1e-5)


def test_features_are_as_far_apart_as_clean_fid_says():
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randn(count, 40, generator=generator) * scale for count, scale in ((90, 1), (70, 1.3))]
    found = frechet_distance(*(FeatureStatistics.of(rows) for rows in sets))
    assert found == pytest.approx(cleanfid.fid_from_feats(*(rows.numpy() for rows in sets)), rel=1e-5)
