from __future__ import annotations

import logging
import shutil

import pytest
import torch

from pos.data.pools import folder as folder_pool
from pos.data.pools.folder import FolderPool
from pos.data.video.reading import frame_indices
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from tests.data.clips import numbers, ramp, write, write_sound


def folder(path, captions: str | bytes, **clips: int):
    """A pool folder; each clip is a ramp of so many frames."""
    path.mkdir(exist_ok=True)
    (path / "captions.csv").write_bytes(captions if isinstance(captions, bytes) else captions.encode())
    for name, count in clips.items():
        write(path / f"{name}.mp4", ramp(count))
    return path


class TestFolderPool:
    def test_reads_clips_to_the_size_asked_for(self, tmp_path):
        pool = FolderPool(folder(tmp_path / "p", "video,caption\na.mp4,one\nb.mp4,two\n", a=20, b=30))
        assert (pool.ids, pool.captions) == (["a.mp4", "b.mp4"], ["one", "two"])
        video = pool.video(1, 8, 24, 24)
        together = pool.videos([1, 0], 8, 24, 24)
        assert torch.equal(together[0], video)
        assert torch.equal(together[1], pool.video(0, 8, 24, 24))
        assert video.shape == (8, 3, 24, 24)
        assert numbers(video) == frame_indices(30, 8)

    def test_images_are_clips_of_one_frame(self, tmp_path):
        path = folder(tmp_path / "p", "video,caption\n1.png,one\na.mp4,two\n", a=3)
        _picture(path)
        pool = FolderPool(path)
        assert pool.ids == ["1.png", "a.mp4"]
        assert torch.equal(pool.video(0, 4, 16, 16), torch.zeros(4, 3, 16, 16, dtype=torch.uint8))

    def test_captions_as_spreadsheets_write_them(self, tmp_path):
        table = (
            '\ufeffvideo ,id,caption\r\na.mp4,7,"a dog, running ""fast"""\r\na.mp4,8,ein Hund läuft\r\n\r\n'
        )
        pool = FolderPool(folder(tmp_path / "p", table, a=3))
        assert pool.captions == ['a dog, running "fast"', "ein Hund läuft"]
        assert pool.ids == ["a.mp4", "a.mp4"]

    def test_a_repeated_line_counts_once(self, tmp_path):
        table = "video,caption\na.mp4,one\nb.mp4,one\na.mp4, one\n"
        assert FolderPool(folder(tmp_path / "p", table, a=3, b=3)).ids == ["a.mp4", "b.mp4"]

    def test_clips_may_lie_in_folders_and_be_folders(self, tmp_path):
        path = folder(tmp_path / "p", "video,caption\nsub/a.safetensors,one\nsub,two\n")
        write_lossless(path / "sub" / "a.safetensors", torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
        shutil.copy(_picture(tmp_path), path / "sub" / "1.png")
        assert FolderPool(path).ids == ["sub/a.safetensors", "sub"]

    def test_the_first_pairs(self, tmp_path):
        pool = FolderPool(folder(tmp_path / "p", "video,caption\na.mp4,one\nb.mp4,two\n", a=20, b=30))
        part = pool.first(1)
        assert (part.ids, part.captions, len(part)) == (["a.mp4"], ["one"], 1)
        assert part.video(0, 4, 32, 48).equal(pool.video(0, 4, 32, 48))
        assert part.fingerprint not in (pool.fingerprint, pool.first(2).fingerprint)
        assert pool.first(2) is pool
        for size in (0, 3):
            with pytest.raises(PosError, match=f"2 clips: take 1 to as many of them, not {size}"):
                pool.first(size)

    def test_unusable_lines_are_counted_in_one_warning(self, tmp_path, caplog):
        table = "video,caption\ngone.mp4,x\na.mp4,one\nsound.mp4,y\na.mp4,\n,no clip\nshort\nempty.mp4,z\n"
        path = folder(tmp_path / "p", table, a=3)
        write_sound(path / "sound.mp4")
        (path / "empty.mp4").touch()
        _picture(path)  # must not make the folder itself the clip of the line without one
        with caplog.at_level(logging.WARNING):
            pool = FolderPool(path)
        assert pool.ids == ["a.mp4"]
        [record] = caplog.records
        message = record.getMessage()
        assert "Left out 6" in message
        assert "gone.mp4 does not exist" in message
        assert "sound.mp4 has no video stream" in message
        assert "And 3 more." in message
        assert "empty.mp4" not in message

    def test_the_only_clip_is_named(self, tmp_path):
        path = folder(tmp_path / "p", "video,caption\nsound.mp4,y\n")
        write_sound(path / "sound.mp4")
        with pytest.raises(PosError, match=r"no usable clip: .*sound\.mp4 has no video stream"):
            FolderPool(path)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("video,text\na.mp4,one\n", "lacks the column caption: its first line names video, text"),
            ("a.mp4,one\n", "lacks the column video and caption"),
            ("video;caption\na.mp4;one\n", "lacks the column video and caption"),
            ("", "lacks the column video and caption"),
            ("video,caption\n", "no usable clip: no line names one"),
            ('video,caption\na.mp4,"one\nb.mp4,two\n', "Line 3 .* is not CSV"),
            ("video,caption\na.mp4,läuft\n".encode("latin-1"), "not UTF-8 text"),
        ],
    )
    def test_bad_captions_file(self, tmp_path, table, message):
        path = folder(tmp_path / "p", table)
        with pytest.raises(PosError, match=message) as caught:
            FolderPool(path)
        assert str(path) in str(caught.value)

    def test_no_folder_and_no_captions_file(self, tmp_path):
        with pytest.raises(PosError, match="p does not exist"):
            FolderPool(tmp_path / "p")
        with pytest.raises(PosError, match=r"has no captions\.csv"):
            FolderPool(tmp_path)

    def test_fingerprint_is_of_the_content(self, tmp_path):
        table = "video,caption\na.mp4,one\nb.mp4,two\n"
        path = folder(tmp_path / "p", table, a=4, b=5)
        first = FolderPool(path).fingerprint
        moved = shutil.copytree(path, tmp_path / "elsewhere")
        assert FolderPool(moved).fingerprint == first
        shutil.copy(path / "a.mp4", moved / "b.mp4")
        other_clip = FolderPool(moved).fingerprint
        other_caption = FolderPool(folder(path, table.replace("two", "three"))).fingerprint
        assert len({first, other_clip, other_caption}) == 3

    def test_what_is_known_of_clips_is_not_found_out_again(self, tmp_path, monkeypatch, caplog):
        path = folder(tmp_path / "p", "video,caption\na.mp4,one\nsound.mp4,two\n", a=4)
        write_sound(path / "sound.mp4")
        fingerprint = FolderPool(path, tmp_path / "cache").fingerprint
        decoded, read_video = [], folder_pool.read_video
        monkeypatch.setattr(
            folder_pool, "read_video", lambda file, **key: decoded.append(file) or read_video(file, **key)
        )
        caplog.clear()
        assert FolderPool(path, tmp_path / "cache").fingerprint == fingerprint
        assert decoded == []
        assert "sound.mp4 has no video stream" in caplog.text
        write(path / "a.mp4", ramp(5))
        FolderPool(path, tmp_path / "cache")
        assert decoded == [path / "a.mp4"]


def _picture(folder):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(folder / "1.png")
    return folder / "1.png"
