"""Flickr30k and WebVid in their published layouts, a few pairs of each."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from PIL import Image

from pos.data.pools.published import flickr30k, webvid
from pos.errors import PosError
from tests.data.clips import numbers, ramp, write

FILES = [f"{1000092795 + 7 * n}.jpg" for n in range(4)]


def caption(file: str, number: int) -> str:
    return f"Sentence {number} , of {file} ."


def write_token(folder):
    lines = [f"{file}#{number}\t{caption(file, number)}" for file in FILES for number in range(5)]
    (folder / "results_20130124.token").write_text("\n".join(lines) + "\n")


def write_karpathy(folder):
    images = [
        {
            "filename": file,
            "split": "test" if index < 2 else "train",
            "sentids": [5 * index + number for number in range(5)],
            "sentences": [{"raw": caption(file, number), "tokens": []} for number in range(5)],
        }
        for index, file in enumerate(FILES)
    ]
    (folder / "dataset_flickr30k.json").write_text(json.dumps({"images": images, "dataset": "flickr30k"}))


@pytest.fixture
def flickr(tmp_path):
    """Four images in the archive's folder, each of its own grey."""
    (tmp_path / "flickr30k-images").mkdir()
    for number, file in enumerate(FILES):
        Image.new("RGB", (40, 30), (50 * number,) * 3).save(tmp_path / "flickr30k-images" / file)
    return tmp_path


@pytest.fixture
def videos(tmp_path):
    """WebVid's layout: ten rows, of which the last three were not downloaded."""
    rows = [
        [str(900 + n), "https://x", "PT00H00M05S", f"{n % 2:03}_{n % 2:03}", f"clip {n}"] for n in range(10)
    ]
    with (tmp_path / "results_2M_train.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["videoid", "contentUrl", "duration", "page_dir", "name"], *rows])
    for number, (name, _, _, page, _) in enumerate(rows[:7]):
        (tmp_path / "videos" / page).mkdir(parents=True, exist_ok=True)
        write(tmp_path / "videos" / page / f"{name}.mp4", ramp(4 + number))
    return tmp_path


@pytest.mark.parametrize("write_annotations", [write_token, write_karpathy])
def test_every_caption_of_an_image_is_a_pair(flickr, write_annotations):
    write_annotations(flickr)
    pool = flickr30k(flickr, split=None)
    assert len(pool) == 20 == len(set(pool.ids))
    assert set(zip(pool.ids, pool.captions, strict=True)) == {
        (f"{file}#{number}", caption(file, number)) for file in FILES for number in range(5)
    }
    video = pool.video(pool.ids.index(f"{FILES[3]}#2"), 4, 16, 16)
    assert video.shape == (4, 3, 16, 16)
    assert (video == 150).all()


def test_the_papers_pool_is_the_test_split(flickr):
    """arXiv 2311.00949, section 5.4: "we employ the test set of Flickr30k as the candidate pool"."""
    write_karpathy(flickr)
    pool = flickr30k(flickr)
    assert {name.split("#")[0] for name in pool.ids} == set(FILES[:2])
    assert len(pool) == 10
    assert set(pool.ids).isdisjoint(flickr30k(flickr, split="train").ids)
    with pytest.raises(PosError, match=r"pool\.split=dev is unknown: choose train, val, test or null"):
        flickr30k(flickr, split="dev")


def test_a_split_needs_the_file_that_has_it(flickr):
    write_token(flickr)
    with pytest.raises(PosError, match=r"dataset_flickr30k\.json is missing: .* pool\.split=null"):
        flickr30k(flickr)


def test_both_files_of_flickr_name_the_same_pairs(flickr):
    write_karpathy(flickr)
    there = flickr30k(flickr, split=None)
    write_token(flickr)
    here = flickr30k(flickr, split=None)
    assert (here.ids, here.fingerprint) == (there.ids, there.fingerprint)


def test_a_smaller_pool_begins_a_larger_one_and_the_seed_draws_it(flickr):
    write_token(flickr)
    pool = flickr30k(flickr, split=None, size=6)
    assert pool.ids == flickr30k(flickr, split=None).ids[:6] == flickr30k(flickr, split=None, size=9).ids[:6]
    assert set(flickr30k(flickr, split=None, size=6, seed=1).ids) != set(pool.ids)
    for size in (0, 21):
        with pytest.raises(PosError, match=f"size={size}: .* pairs, take 1 to as many"):
            flickr30k(flickr, split=None, size=size)


def test_webvid_takes_what_was_downloaded_of_what_is_drawn(videos, caplog):
    pool = webvid(videos, size=None)
    assert set(pool.ids) == {str(900 + n) for n in range(7)}
    assert "The pool webvid has 7 of 10 pairs" in caplog.text
    assert numbers(pool.video(pool.ids.index("905"), 9, 32, 48)) == list(range(9))
    few = webvid(videos, size=5)
    assert few.ids == pool.ids[: len(few)]
    assert webvid(videos, size=5).fingerprint == few.fingerprint != webvid(videos, size=5, seed=3).fingerprint


def test_webvid_without_its_folder_videos_and_with_a_named_table(videos):
    expected = webvid(videos, size=None).fingerprint
    (videos / "videos").rename(videos / "train")
    (videos / "other.csv").write_text("")
    with pytest.raises(PosError, match=r"must hold one .csv .* it has other.csv, results_2M_train.csv"):
        webvid(videos)
    assert webvid(videos / "train", videos / "results_2M_train.csv", size=None).fingerprint == expected


def test_a_clip_that_cannot_be_read_is_named_when_it_is_retrieved(videos):
    pool = webvid(videos, size=None)
    path = videos / "videos" / "000_000" / "900.mp4"
    path.write_bytes(b"nonsense")
    assert webvid(videos, size=None).fingerprint != pool.fingerprint
    with pytest.raises(PosError, match=r"900.mp4: it is corrupt .* Take the file away"):
        pool.video(pool.ids.index("900"), 4, 16, 16)


def test_files_that_are_not_of_their_form_are_named(flickr, videos):
    with pytest.raises(PosError, match=r"holds neither results_20130124.token nor dataset_flickr30k.json"):
        flickr30k(flickr, split=None)
    (flickr / "dataset_flickr30k.json").write_text('{"images": [{"filename": "a.jpg"}]}')
    with pytest.raises(PosError, match=r"not of its published form: KeyError 'sentences'"):
        flickr30k(flickr, split=None)
    (flickr / "results_20130124.token").write_text("a.jpg A dog\n")
    with pytest.raises(PosError, match=r"holds the line 'a.jpg A dog': it must be like"):
        flickr30k(flickr, split=None)
    (flickr / "results_20130124.token").write_text("a.jpg#0\tA dog\n")
    with pytest.raises(PosError, match=r"holds none of the 1 clips that flickr30k names"):
        flickr30k(flickr, split=None)
    (videos / "results_2M_train.csv").write_text("videoid,name\n1,a\n")
    with pytest.raises(PosError, match=r"WebVid table .* lacks the column page_dir"):
        webvid(videos)


def test_images_are_decoded_as_pil_does(flickr):
    """Other decoders of JPEG differ by some levels."""
    import numpy as np

    noise = torch.randint(0, 256, (12, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    path = flickr / "flickr30k-images" / FILES[0]
    Image.fromarray(noise.numpy()).resize((48, 48), Image.Resampling.BICUBIC).save(path, quality=80)
    write_token(flickr)
    pool = flickr30k(flickr, split=None)
    expected = np.asarray(Image.open(path))
    assert np.array_equal(
        pool.video(pool.ids.index(f"{FILES[0]}#0"), 1, 48, 48)[0].permute(1, 2, 0), expected
    )
