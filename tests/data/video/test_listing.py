"""Which files are the videos that a benchmark names."""

from __future__ import annotations

import pytest

from pos.data.video.listing import find_videos
from pos.errors import PosError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_the_official_path_then_another_suffix_then_any_subfolder(tmp_path):
    touch(tmp_path, "A/v1.avi", "A/v1.mp4", "B/v1.avi", "A/v2.gif", "A/v2.safetensors", "deep/er/v3.webm")
    touch(tmp_path, "A/v4.txt", "A/v5/0.png", "v6.jpg")
    names = ["A/v1.avi", "A/v2.avi", "A/v3.avi", "A/v4.avi", "A/v5.avi", "v6.avi", "A/v7.avi"]
    found = [path and path.relative_to(tmp_path).as_posix() for path in find_videos(names, tmp_path)]
    assert found == ["A/v1.avi", "A/v2.safetensors", "deep/er/v3.webm", None, "A/v5", "v6.jpg", None]


def test_links_are_followed(tmp_path):
    touch(tmp_path, "disk/YoYo/v1.avi")
    (tmp_path / "UCF").mkdir()
    (tmp_path / "UCF" / "YoYo").symlink_to(tmp_path / "disk" / "YoYo")
    assert find_videos(["YoYo/v1.avi"], tmp_path / "UCF") == [tmp_path / "UCF" / "YoYo" / "v1.avi"]


def test_one_name_in_two_places_is_refused(tmp_path):
    touch(tmp_path, "A/v1.mp4", "B/v1.mp4")
    with pytest.raises(PosError, match=r"Both .*A and .*B hold a v1: keep one of them"):
        find_videos(["v1.avi"], tmp_path)
    with pytest.raises(PosError, match=r"holds none of the 1 videos that the benchmark names, such as w.avi"):
        find_videos(["w.avi"], tmp_path)
    with pytest.raises(PosError, match="absent does not exist"):
        find_videos(["v1.avi"], tmp_path / "absent")
