"""Small annotation files in the published layouts, and a few lines of the real UCF101 lists."""

from __future__ import annotations

import json
from pathlib import Path

CLASSES = ("ApplyEyeMakeup", "ApplyLipstick", "YoYo")


def write_ucf101(folder: Path, clips: int = 2) -> Path:
    """``testlist01.txt`` and ``classInd.txt`` with Windows line ends, as the authors' archive has them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}/v_{name}_g01_c{clip:02d}.avi" for name in CLASSES for clip in range(1, clips + 1)]
    (folder / "testlist01.txt").write_bytes("\r\n".join([*lines, ""]).encode())
    numbered = [f"{number} {name}" for number, name in enumerate(CLASSES, start=1)]
    (folder / "classInd.txt").write_bytes("\r\n".join([*numbered, ""]).encode())
    return folder


def write_msrvtt(path: Path, numbers: list[int], captions: int = 20, reverse: bool = False) -> Path:
    """Videos and sentences of ``test_videodatainfo.json``; the caption tells its video and its number."""
    videos = [
        {"video_id": f"video{n}", "id": n, "split": "test", "category": 9, "url": "", "start time": 1.0}
        for n in numbers
    ]
    sentences = [
        {"sen_id": n * 100 + k, "video_id": f"video{n}", "caption": f"caption {k} of {n}"}
        for n in numbers
        for k in range(captions)
    ]
    if reverse:
        videos, sentences = videos[::-1], sentences[::-1]
    path.write_text(json.dumps({"info": {"year": "2016"}, "videos": videos, "sentences": sentences}))
    return path


def write_coco(path: Path, images: int, captions: int = 5) -> Path:
    """Images and annotations of ``captions_val2014.json``."""
    content = {
        "images": [{"id": 42 + n, "file_name": f"COCO_val2014_{42 + n:012d}.jpg"} for n in range(images)],
        "annotations": [
            {"image_id": 42 + n, "id": 1000 * n + k, "caption": f"Caption {k} \nof {42 + n}. "}
            for n in range(images)
            for k in range(captions)
        ],
    }
    path.write_text(json.dumps(content))
    return path
