from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from pos.data.video import decoding
from pos.data.video.reading import fit, frame_indices, read_video
from pos.data.video.writing import write_lossless, write_preview
from pos.errors import PosError
from tests.data.clips import numbers, ramp, write, write_sound


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


class TestFrameIndices:
    @pytest.mark.parametrize(
        ("count", "frames", "stride", "expected"),
        [
            (16, 16, None, list(range(16))),
            (32, 16, None, list(range(1, 32, 2))),
            (10, 4, None, [1, 3, 6, 8]),
            (4, 8, None, [0, 0, 1, 1, 2, 2, 3, 3]),
            (1, 3, None, [0, 0, 0]),
            (9, 1, None, [4]),
            (10, 4, 3, [0, 3, 6, 9]),
            (5, 4, 2, [0, 2, 4, 4]),
        ],
    )
    def test_written_rule(self, count, frames, stride, expected):
        assert frame_indices(count, frames, stride) == expected

    @given(st.integers(1, 5000), st.integers(1, 64))
    def test_one_frame_of_each_equal_part(self, count, frames):
        for part, index in enumerate(frame_indices(count, frames)):
            assert part * count / frames - 1 < index < (part + 1) * count / frames
            assert 0 <= index < count


class TestFit:
    @given(*[st.integers(1, 40)] * 4)
    def test_any_size_to_any_size(self, h, w, height, width):
        assert fit(noise(2, 3, h, w), height, width).shape == (2, 3, height, width)

    def test_equal_size_is_untouched(self):
        video = noise(3, 3, 20, 31)
        assert torch.equal(fit(video, 20, 31), video)

    def test_equal_shorter_side_is_only_cropped(self):
        video = noise(3, 3, 20, 31)
        assert torch.equal(fit(video, 20, 21), video[..., 5:26])

    def test_centre_of_the_longer_side_remains(self):
        video = torch.zeros(1, 3, 24, 96, dtype=torch.uint8)
        video[..., 36:60] = 200
        assert (fit(video, 12, 8).int() - 200).abs().max() <= 1

    def test_antialiased(self):
        lines = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
        lines[..., ::8] = 248  # samples between them would see nothing
        inside = fit(lines, 8, 8)[..., 1:-1, 1:-1].int()
        assert (inside - 31).abs().max() <= 3


@pytest.mark.parametrize(
    ("name", "codec", "fps", "count", "width", "height"),
    [
        ("a.mp4", "libx264", 30, 45, 96, 64),
        ("a.webm", "libvpx-vp9", 10, 16, 64, 98),
        ("a.avi", "mpeg4", 25, 33, 50, 50),
        ("a.MKV", "libx264", 60, 7, 128, 32),
    ],
)
def test_any_container_size_and_rate(tmp_path, name, codec, fps, count, width, height):
    path = write(tmp_path / name, ramp(count, width, height), codec, fps)
    video = read_video(path, 16, (24, 40))
    assert (video.shape, video.dtype) == ((16, 3, 24, 40), torch.uint8)
    assert numbers(video) == frame_indices(count, 16)
    assert numbers(read_video(path, 6, stride=3)) == frame_indices(count, 6, 3)


def test_pixels_and_channels_are_exact(tmp_path):
    video = noise(5, 3, 32, 48)
    path = write(tmp_path / "a.mkv", [frame.permute(1, 2, 0).numpy() for frame in video], "ffv1")
    assert torch.equal(read_video(path, 5), video)


def test_a_container_that_counts_wrongly(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", ramp(40))
    for announced in (12, 90):
        monkeypatch.setattr(decoding, "_survey", lambda *_, count=announced: count)
        assert numbers(read_video(path, 8)) == frame_indices(40, 8)


def test_only_sampled_frames_become_pixels(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", ramp(48))
    converted = []
    upright = decoding._upright
    monkeypatch.setattr(decoding, "_upright", lambda frame: converted.append(frame.pts) or upright(frame))
    read_video(path, 4, (16, 16))
    assert len(converted) == 4


def test_a_phone_held_upright(tmp_path):
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, :32] = 250  # bright on the left
    path = write(tmp_path / "a.mp4", [frame] * 3)
    data = path.read_bytes()
    matrix = [65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
    quarter_turn_clockwise = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    plain, turned = (np.array(m, ">i4").tobytes() for m in (matrix, quarter_turn_clockwise))
    header = data.index(b"tkhd")
    start = data.index(plain, header)
    path.write_bytes(data[:start] + turned + data[start + len(plain) :])
    video = read_video(path, 1)
    assert video.shape == (1, 3, 64, 32)
    assert video[..., :28, :].min() > 200  # the left has become the top
    assert video[..., 36:, :].max() < 50


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_animated_images(tmp_path, name):
    first, *rest = [Image.fromarray(frame) for frame in ramp(12)]
    first.save(tmp_path / name, save_all=True, append_images=rest, lossless=True, duration=50)
    video = read_video(tmp_path / name, 6, (16, 16))
    assert numbers(video) == frame_indices(12, 6)


def test_folder_of_frames_in_natural_order(tmp_path):
    for index, frame in enumerate(ramp(12)):
        Image.fromarray(frame).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    assert numbers(read_video(tmp_path, 12)) == list(range(12))


def test_folder_of_unequal_frames(tmp_path):
    for index, frame in enumerate([*ramp(1, 48, 32), *ramp(1, 32, 48)]):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    assert read_video(tmp_path, 2, (16, 16)).shape == (2, 3, 16, 16)
    with pytest.raises(PosError, match="differ in size"):
        read_video(tmp_path, 2)


def test_lossless_round_trip(tmp_path):
    video = noise(16, 3, 20, 30)
    write_lossless(tmp_path / "deep" / "a.safetensors", video)
    assert torch.equal(read_video(tmp_path / "deep" / "a.safetensors"), video)


def _cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def _scrambled(path):
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = np.random.default_rng(0).bytes(third)
    path.write_bytes(data)
    return path


def _detailed(count: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(count)]


def _bytes(path, content):
    path.write_bytes(content)
    return path


def _tensors(path, **tensors):
    save_file(tensors, path)
    return path


def _gif(path):
    first, *rest = [Image.fromarray(frame) for frame in _detailed(10)]
    first.save(path, save_all=True, append_images=rest)
    return path


def _folder(path):
    path.mkdir()
    return path


BAD = {
    "missing": (lambda d: d / "a.mp4", "does not exist"),
    "empty": (lambda d: _bytes(d / "a.mp4", b""), "is an empty file"),
    "random bytes": (
        lambda d: _bytes(d / "a.mp4", np.random.default_rng(0).bytes(4000)),
        "corrupt or not a video",
    ),
    "text": (lambda d: _bytes(d / "a.mp4", b"hello world\n" * 40), "corrupt or not a video"),
    "sound only": (lambda d: write_sound(d / "a.mp4"), "no video stream: it holds audio"),
    "no frames": (lambda d: write(d / "a.mp4", []), "no video stream|no frames"),
    "no frames in avi": (lambda d: write(d / "a.avi", [], "mpeg4"), "no video stream|no frames"),
    "cut mp4": (lambda d: _cut(write(d / "a.mp4", _detailed()), 0.6), "corrupt or not a video"),
    "cut streaming mp4": (
        lambda d: _cut(write(d / "a.mp4", _detailed(), movflags="faststart"), 0.6),
        "truncated or corrupt after",
    ),
    "cut webm": (
        lambda d: _cut(write(d / "a.webm", _detailed(), "libvpx-vp9"), 0.6),
        "truncated: .* seconds",
    ),
    "cut mkv": (lambda d: _cut(write(d / "a.mkv", _detailed()), 0.6), "truncated"),
    "scrambled mp4": (lambda d: _scrambled(write(d / "a.mp4", _detailed())), "corrupt"),
    "empty folder": (lambda d: _folder(d / "a"), "holds no image frames"),
    "no such tensor": (lambda d: _tensors(d / "a.safetensors", x=torch.zeros(1)), "no tensor 'video', only"),
    "float tensor": (
        lambda d: _tensors(d / "a.safetensors", video=torch.zeros(2, 3, 4, 4)),
        r"float32 \(2, 3, 4, 4\): a video is uint8",
    ),
    "cut tensor": (
        lambda d: _cut(_tensors(d / "a.safetensors", video=noise(2, 3, 8, 8)), 0.6),
        "corrupt or truncated",
    ),
    "text as gif": (lambda d: _bytes(d / "a.gif", b"hello"), "corrupt or not a video"),
    "cut gif": (lambda d: _cut(_gif(d / "a.gif"), 0.55), "corrupt or not a video"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_video_is_named_with_its_fault(tmp_path, fault):
    make, message = BAD[fault]
    path = make(tmp_path)
    with pytest.raises(PosError, match=message) as caught:
        read_video(path, 4)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("arguments", [{"frames": 0}, {"stride": 0}, {"size": (0, 8)}])
def test_bad_arguments(tmp_path, arguments):
    with pytest.raises(PosError, match="at least 1"):
        read_video(tmp_path, **arguments)


class TestPreview:
    def test_small_videos_are_enlarged_pixel_by_pixel(self, tmp_path):
        video = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
        for index in range(4):
            video[index, index % 3, 16 * index : 16 * index + 8] = 255
        write_preview(tmp_path / "a.gif", video, fps=8)
        with Image.open(tmp_path / "a.gif") as gif:
            assert (gif.size, gif.n_frames, gif.info["loop"]) == ((256, 256), 4, 0)
            assert gif.info["duration"] == 120
        expected = video.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        assert torch.equal(read_video(tmp_path / "a.gif", 4), expected)

    def test_large_videos_keep_their_size_and_look(self, tmp_path):
        y, x = np.mgrid[:300, :200]
        frames = np.stack([np.stack([y // 2, x, np.full_like(x, 60 * i)], axis=-1) for i in range(3)])
        video = torch.from_numpy(frames.astype(np.uint8)).permute(0, 3, 1, 2)
        write_preview(tmp_path / "a.gif", video)
        shown = read_video(tmp_path / "a.gif", 3)
        assert shown.shape == video.shape
        assert (shown.float() - video.float()).abs().mean() < 12

    @pytest.mark.parametrize("arguments", [{"fps": 0}, {"fps": float("nan")}, {"scale": 0}])
    def test_bad_arguments(self, tmp_path, arguments):
        with pytest.raises(PosError, match="above 0"):
            write_preview(tmp_path / "a.gif", noise(2, 3, 8, 8), **arguments)


@pytest.mark.parametrize("write_video", [write_lossless, write_preview])
@pytest.mark.parametrize(
    "video", [torch.zeros(2, 3, 8, 8), noise(3, 8, 8), noise(2, 4, 8, 8), noise(0, 3, 8, 8)]
)
def test_only_videos_are_written(tmp_path, write_video, video):
    with pytest.raises(PosError, match="a video is uint8"):
        write_video(tmp_path / "a", video)
    assert not list(tmp_path.iterdir())


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("kept")
    with pytest.raises(PosError, match="Cannot write"):
        write_lossless(tmp_path / "out" / "a.safetensors", noise(2, 3, 8, 8))
    assert (tmp_path / "out").read_text() == "kept"
