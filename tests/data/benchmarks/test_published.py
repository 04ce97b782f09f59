"""The paper's benchmarks, from files of the published layouts."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from pos.data.benchmarks.protocol import Protocol
from pos.data.benchmarks.published import coco, msrvtt, ucf101
from pos.errors import PosError
from pos.storage import asset
from tests.data.annotations import CLASSES, write_coco, write_msrvtt, write_ucf101

REAL_LISTS = Path(__file__).parents[4] / "shared" / "data" / "ucf101"
PAPER = Protocol()


def chosen(manifest) -> dict[str, str]:
    return {item.id: item.prompt for item in manifest.items}


@pytest.mark.skipif(not REAL_LISTS.is_dir(), reason=f"the official lists are not in {REAL_LISTS}")
def test_the_official_lists_of_ucf101_give_3783_prompts(caplog):
    manifest = ucf101(REAL_LISTS, protocol=PAPER)
    assert len(manifest.prompts) == 3783
    assert len(set(chosen(manifest).values())) == 101
    first, last = manifest.items[0], manifest.items[-1]
    assert (first.id, first.prompt) == ("v_ApplyEyeMakeup_g01_c01", "a person applies eye makeup")
    assert (last.video, last.prompt) == ("YoYo/v_YoYo_g07_c04.avi", "a person plays with a yo-yo")
    assert not caplog.records


def test_our_sentences_of_ucf101_are_101_different_ones():
    with asset("ucf101/prompts.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["id"] for row in rows}) == len({row["prompt"] for row in rows}) == len(rows) == 101
    assert all(row["prompt"].split()[0][0].islower() and "." not in row["prompt"] for row in rows)


def test_every_clip_of_ucf101_has_the_sentence_of_its_class(tmp_path, caplog):
    lists = write_ucf101(tmp_path / "lists")
    assert Counter(chosen(ucf101(lists, protocol=PAPER)).values()) == {
        "a person applies eye makeup": 2,
        "a woman applies lipstick to her lips": 2,
        "a person plays with a yo-yo": 2,
    }
    assert "names 6 clips, and the official file 3,783" in caplog.text
    some = ucf101(lists, size=3, seed=1, protocol=PAPER)
    assert len(some.items) == 3
    assert chosen(ucf101(lists, size=2, seed=1, protocol=PAPER)).items() <= chosen(some).items()
    assert some.choices["videos"] == "3 drawn"
    theirs = tmp_path / "theirs.csv"
    theirs.write_text("id,prompt\n" + "".join(f'{name},"{name}, filmed"\n' for name in CLASSES))
    assert chosen(ucf101(lists, prompts=theirs, protocol=PAPER))["v_YoYo_g01_c02"] == "YoYo, filmed"


def test_mistakes_in_the_lists_of_ucf101_are_named(tmp_path):
    lists = write_ucf101(tmp_path / "lists")
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("id,prompt\nYoYo,a yo-yo\n")
    with pytest.raises(PosError, match="no sentence for 2 of the 3 classes, such as ApplyEyeMakeup"):
        ucf101(lists, prompts=prompts, protocol=PAPER)
    (lists / "testlist01.txt").write_text("Surfing/v_Surfing_g01_c01.avi\n")
    with pytest.raises(PosError, match=r"Surfing is no class of .*classInd.txt"):
        ucf101(lists, protocol=PAPER)
    (lists / "testlist01.txt").write_text("YoYo/v_YoYo_g08_c01.avi 101\n")
    with pytest.raises(PosError, match=r"holds 'YoYo/v_YoYo_g08_c01.avi 101': its lines must be like 'Apply"):
        ucf101(lists, protocol=PAPER)
    (lists / "testlist01.txt").write_text("\n")
    with pytest.raises(PosError, match="holds nothing"):
        ucf101(lists, protocol=PAPER)
    said = r"There is no file .*classInd.txt: benchmark.folder=DIR takes the official lists, in https"
    with pytest.raises(PosError, match=said):
        ucf101(tmp_path, protocol=PAPER)


def test_msrvtt_takes_the_2990_test_videos_of_either_file(tmp_path, caplog):
    official = write_msrvtt(tmp_path / "test_videodatainfo.json", list(range(7010, 10000)), captions=2)
    older = write_msrvtt(tmp_path / "videodatainfo_2017.json", list(range(7000, 10000)), 2, reverse=True)
    first, second = msrvtt(official, protocol=PAPER), msrvtt(older, protocol=PAPER)
    assert len(first.items) == 2990
    assert first.items == second.items
    assert [first.items[0].video, first.items[-1].video] == ["video7010.mp4", "video9999.mp4"]
    assert not caplog.records


def test_the_caption_depends_on_the_seed_and_its_own_video_alone(tmp_path):
    few = msrvtt(write_msrvtt(tmp_path / "few.json", list(range(7010, 7030))), protocol=PAPER)
    many = msrvtt(write_msrvtt(tmp_path / "many.json", list(range(7010, 7400)), reverse=True), protocol=PAPER)
    other = msrvtt(tmp_path / "many.json", seed=1, protocol=PAPER)
    assert chosen(few).items() <= chosen(many).items()
    drawn = Counter(prompt.split()[1] for prompt in chosen(many).values())
    assert len(drawn) == 20  # each of the 20 captions now and then, none preferred
    assert max(drawn.values()) < 45
    same = sum(chosen(many)[name] == prompt for name, prompt in chosen(other).items())
    assert same < 60  # of 390; one in 20 by chance
    assert many.hash != other.hash
    assert other.choices["seed"] == 1
    for item in many.items:
        assert item.prompt == f"caption {int(item.caption) % 100} of {item.id.removeprefix('video')}"


def test_coco_takes_one_caption_of_each_image(tmp_path):
    path = write_coco(tmp_path / "captions.json", 30)
    everything = coco(path, protocol=PAPER)
    assert len(everything.items) == 30
    assert everything.items[0].video == "COCO_val2014_000000000042.jpg"
    assert everything.items[0].prompt in {f"Caption {k} of 42." for k in range(5)}
    some = coco(path, size=7, protocol=PAPER)
    assert len(some.items) == 7
    assert chosen(some).items() <= chosen(everything).items()
    assert chosen(some).keys() != chosen(coco(path, size=7, seed=1, protocol=PAPER)).keys()
    with pytest.raises(PosError, match="gives 30 prompts"):
        coco(path, size=31, protocol=PAPER)


@pytest.mark.parametrize("read", [msrvtt, coco])
def test_mistakes_in_annotations_are_named(tmp_path, read):
    path = tmp_path / "file.json"
    said = r"There is no file .*file.json: benchmark.annotations=FILE takes (the test_video|COCO's captions)"
    with pytest.raises(PosError, match=said):
        read(path, protocol=PAPER)
    path.write_text("[1]")
    with pytest.raises(PosError, match=r"lacks '\w+' or '\w+': give .*json or a file of its form"):
        read(path, protocol=PAPER)
    path.write_text("{")
    with pytest.raises(PosError, match="is not JSON"):
        read(path, protocol=PAPER)
    path.write_text(json.dumps({name: [{}] for name in ("videos", "sentences", "images", "annotations")}))
    with pytest.raises(PosError, match="not of its published form"):
        read(path, protocol=PAPER)


def test_a_video_without_captions_is_named(tmp_path):
    path = write_msrvtt(tmp_path / "file.json", [7010, 7011], captions=1)
    path.write_text(path.read_text().replace("caption 0 of 7011", " "))
    with pytest.raises(PosError, match="has no caption for video7011"):
        msrvtt(path, protocol=PAPER)
    write_msrvtt(path, [1, 2])
    with pytest.raises(PosError, match="msrvtt holds no prompt"):
        msrvtt(path, protocol=PAPER)


@pytest.mark.parametrize(
    "wrong", [{"real_images": []}, {"real_images": [-1]}, {"real_step": 0}, {"scored_prompt": "rewritten"}]
)
def test_a_protocol_that_cannot_be_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(PosError, match=name):
        Protocol(**wrong)


def test_the_papers_frames_are_written_out():
    choices = PAPER.record()
    assert choices["real_images"] == [0, 12, 24, 36, 48]
    assert choices["real_clip"] == list(range(0, 76, 5))
    assert choices["generated_clip"] == list(range(16))
