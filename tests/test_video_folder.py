"""The folder of videos: names, claims, skipped and repeated videos, interrupted writers, other videos."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pos import video_folder
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.method import Method
from pos.pipeline import Pipeline
from pos.provenance import Request
from pos.storage import lock_folder
from pos.video_folder import PROMPTS, VideoFolder, claim, file_stem, read_provenance
from tests.known import Silent, known_pipeline

REQUESTS = [Request("red ring", seed, "test-1") for seed in range(6)]


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return known_pipeline(tmp_path / "cache", steps=2, batch_size=2)


@pytest.fixture
def folder(tmp_path: Path, pipeline: Pipeline) -> VideoFolder:
    return VideoFolder(tmp_path / "videos", pipeline.config_hash)


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that reach a pipeline."""
    requests: list[Request] = []
    generate = Pipeline.generate

    def spying(self: Pipeline, todo):
        requests.extend(todo)
        return generate(self, todo)

    monkeypatch.setattr(Pipeline, "generate", spying)
    return requests


def contents(folder: VideoFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.path.glob("*"))}


class TestNames:
    def test_id_or_label_and_seed_name_the_files(self, folder: VideoFolder):
        assert file_stem("validation-0000", 1) == "validation-0000-s1"
        request = Request("red ring", 7, "test-1")
        assert folder.file(request, "json") == folder.path / "test-1-s7.json"
        assert folder.file(replace(request, label="0000-red"), "gif") == folder.path / "0000-red-s7.gif"

    def test_the_label_does_not_change_the_video(self, folder: VideoFolder, pipeline: Pipeline):
        requests = [Request("red", 0, "test-1", label) for label in (None, "0000-red")]
        folder.fill(pipeline, requests)
        first, second = (folder.file(request, "safetensors").read_bytes() for request in requests)
        assert first == second

    def test_a_preview_is_written_where_it_is_requested(self, folder: VideoFolder, pipeline, caplog):
        folder.fill(pipeline, REQUESTS[:1])
        assert list(contents(folder)) == ["test-1-s0.json", "test-1-s0.safetensors"]
        shown = replace(folder, preview_fps=8.0)
        with caplog.at_level(logging.INFO):
            shown.fill(pipeline, REQUESTS[:2])
        assert set(contents(shown)) - set(contents(folder)) == set()
        assert {name for name in contents(shown) if "s1" in name} == {
            f"test-1-s1.{kind}" for kind in ("gif", "json", "safetensors")
        }
        assert str(folder.path / "test-1-s1.gif") in caplog.text


class TestFill:
    def test_existing_videos_are_skipped_and_can_be_read(
        self, folder: VideoFolder, pipeline: Pipeline, generated: list[Request]
    ):
        folder.fill(pipeline, REQUESTS[1:3])
        before = contents(folder)
        generated.clear()
        folder.fill(pipeline, REQUESTS)
        assert generated == [REQUESTS[0], *REQUESTS[3:]]
        assert before.items() <= contents(folder).items()
        for request in REQUESTS:
            assert folder.video(request, 2).equal(read_video(folder.file(request, "safetensors"), 2))
            found = folder.provenance(request)
            assert (found.prompt, found.seed, found.id) == (request.prompt, request.seed, request.id)
            assert found == read_provenance(folder.file(request, "json"))

    def test_a_video_without_provenance_is_generated_again(
        self, folder: VideoFolder, pipeline: Pipeline, generated: list[Request]
    ):
        folder.fill(pipeline, REQUESTS[:2])
        folder.file(REQUESTS[1], "json").unlink()
        with pytest.raises(PosError, match=r"test-1-s1\.json does not exist yet"):
            folder.provenance(REQUESTS[1])
        assert folder.find(REQUESTS[1]) is None
        generated.clear()
        folder.fill(pipeline, REQUESTS[:2])
        assert generated == REQUESTS[1:2]

    def test_the_provenance_is_written_last(self, folder: VideoFolder, pipeline, monkeypatch):
        def failing(*_):
            raise PosError("Cannot write: no space left on device.")

        monkeypatch.setattr(video_folder, "write_lossless", failing)
        with pytest.raises(PosError, match="no space left"):
            folder.fill(pipeline, REQUESTS)
        assert not folder.path.exists()

    @pytest.mark.parametrize("kept", [1, 4])
    def test_writers_that_fail_keep_what_they_wrote(
        self, folder: VideoFolder, pipeline, monkeypatch: pytest.MonkeyPatch, generated, kept: int
    ):
        lock, written, store = threading.Lock(), [], VideoFolder.store

        def stopping(self, sample):
            with lock:
                if len(written) == kept:
                    raise PosError("Cannot write: no space left on device.")
                written.append(sample.request)
            store(self, sample)

        with monkeypatch.context() as patch:
            patch.setattr(VideoFolder, "store", stopping)
            with pytest.raises(PosError, match="no space left"):
                folder.fill(pipeline, REQUESTS)
        before = contents(folder)
        assert {path.stem for path in folder.path.glob("*.json")} == {f"test-1-s{r.seed}" for r in written}
        generated.clear()
        folder.fill(pipeline, REQUESTS)
        assert set(generated) == set(REQUESTS) - set(written)
        assert before.items() <= contents(folder).items()

    def test_a_failing_disk_ends_the_generation_too(self, folder: VideoFolder, pipeline, monkeypatch):
        def failing(*_):
            raise PosError("Cannot write: no space left on device.")

        monkeypatch.setattr(VideoFolder, "store", failing)
        monkeypatch.setattr(video_folder, "BACKLOG", 2)
        with pytest.raises(PosError, match="no space left"):
            folder.fill(pipeline, [replace(REQUESTS[0], seed=seed) for seed in range(60)])
        assert len(pipeline.backbone.calls) / pipeline.steps <= 4, "of 30 batches"

    def test_no_more_videos_wait_than_the_backlog(self, folder: VideoFolder, pipeline, monkeypatch):
        release, store = threading.Event(), VideoFolder.store
        waiting: list[int] = []

        def slow(self, sample):
            release.wait(timeout=30)
            store(self, sample)

        def counted(samples):
            for number, sample in enumerate(samples, start=1):
                waiting.append(number)
                if number == 5:  # one is being written, two wait, and the fourth waits for a place
                    release.set()
                yield sample

        generate = Pipeline.generate
        monkeypatch.setattr(Pipeline, "generate", lambda self, todo: counted(generate(self, todo)))
        monkeypatch.setattr(VideoFolder, "store", slow)
        monkeypatch.setattr(video_folder, "WRITERS", 1)
        monkeypatch.setattr(video_folder, "BACKLOG", 2)
        timer = threading.Timer(1.0, lambda: (waiting.append(-1), release.set()))
        timer.start()
        folder.fill(pipeline, REQUESTS)
        timer.cancel()
        assert waiting[:5] == [1, 2, 3, 4, -1], "the fifth was generated before one was written"

    def test_an_interruption_loses_nothing_that_was_generated(
        self, folder: VideoFolder, pipeline, monkeypatch: pytest.MonkeyPatch
    ):
        generate = Pipeline.generate

        def stopping(self, todo):
            for number, sample in enumerate(generate(self, todo)):
                if number == 3:
                    raise KeyboardInterrupt
                yield sample

        monkeypatch.setattr(Pipeline, "generate", stopping)
        with pytest.raises(KeyboardInterrupt):
            folder.fill(pipeline, REQUESTS)
        assert sorted(path.stem for path in folder.path.glob("*.json")) == [f"test-1-s{i}" for i in range(3)]


class TestAskingAgain:
    @pytest.fixture
    def silent(self, tmp_path: Path) -> tuple[Silent, Callable[[], Pipeline]]:
        """A language model, and pipelines that ask it, each as one of another process."""
        engine = Silent({"red": "blue"})

        def make() -> Pipeline:
            pipeline = known_pipeline(tmp_path / "cache", Method(rewrite=True, gamma=0.5), steps=2)
            return replace(pipeline, rewriter=replace(pipeline.rewriter, engine=engine))

        return engine, make

    def test_videos_without_an_answer_are_replaced_once_there_is_one(
        self, silent, tmp_path: Path, generated: list[Request]
    ):
        engine, make = silent
        folder = VideoFolder(tmp_path / "videos", make().config_hash)
        folder.fill(make(), REQUESTS[:2])
        features = folder.features_file("0123456789abcdef")
        alien = folder.path / "features-of-mine.safetensors"
        features.write_bytes(b"")
        alien.write_bytes(b"")
        generated.clear()
        folder.fill(make(), REQUESTS[:2])
        assert (generated, features.exists()) == ([], True)
        assert not folder.provenance(REQUESTS[0]).answered
        engine.silent = False
        folder.fill(make(), REQUESTS[:3])
        assert generated == REQUESTS[:3]
        assert (features.exists(), alien.exists()) == (False, True)
        assert folder.provenance(REQUESTS[0]).answered
        assert folder.provenance(REQUESTS[0]).rewritten_prompt == "blue ring"
        generated.clear()
        folder.fill(make(), REQUESTS[:3])
        assert generated == []

    def test_so_are_those_of_an_earlier_version(self, silent, tmp_path: Path, generated: list[Request]):
        engine, make = silent
        folder = VideoFolder(tmp_path / "videos", make().config_hash)
        folder.fill(make(), REQUESTS[:2])
        for request, was_heard in zip(REQUESTS, (False, True), strict=False):
            path = folder.file(request, "json")
            record = json.loads(path.read_text())
            del record["rewrite"]["answered"]
            record["rewrite"]["heard"] = was_heard
            path.write_text(json.dumps(record))
        engine.silent = False
        generated.clear()
        folder.fill(make(), REQUESTS[:2])
        assert generated == REQUESTS[:1]


class TestOtherVideos:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"prompt": "blue"}, "is of another prompt, and is kept: choose another out=DIR"),
            ({"id": "test-2", "label": "test-1"}, "is of a video with other settings, and is kept"),
        ],
    )
    def test_another_request_under_the_same_name_is_refused(
        self, folder: VideoFolder, pipeline, generated: list[Request], change: dict, said: str
    ):
        folder.fill(pipeline, REQUESTS[:1])
        before = contents(folder)
        generated.clear()
        other = replace(REQUESTS[0], **change)
        for act in (lambda: folder.fill(pipeline, [other]), lambda: folder.provenance(other)):
            with pytest.raises(PosError, match=rf"test-1-s0\.json {said}"):
                act()
        assert generated == []
        assert contents(folder) == before

    def test_another_configuration_is_refused(self, folder: VideoFolder, pipeline, generated: list[Request]):
        folder.fill(pipeline, REQUESTS[:1])
        other = replace(pipeline, steps=3)
        generated.clear()
        with pytest.raises(PosError, match=r"test-1-s0\.json is of a video with other settings, and is kept"):
            replace(folder, config=other.config_hash).fill(other, REQUESTS[:1])
        assert generated == []

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("{", "Expecting"),
            ("[]", "it holds no object"),
            ('{"prompt": "a"}', "it has no 'method'"),
            ("\xff", "codec"),
        ],
    )
    def test_a_damaged_provenance_is_named(self, folder: VideoFolder, pipeline, content: str, reason: str):
        folder.fill(pipeline, REQUESTS[:1])
        path = folder.file(REQUESTS[0], "json")
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(PosError, match=rf"test-1-s0\.json is damaged \(.*{reason}.*: remove it and run"):
            folder.fill(pipeline, REQUESTS[:1])
        path.unlink()
        folder.fill(pipeline, REQUESTS[:1])
        assert folder.provenance(REQUESTS[0]).prompt == "red ring"


class TestClaim:
    def test_prompts_that_shards_add_at_once_all_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        write = video_folder.write_atomic

        def slowly(path: Path, content: str) -> None:
            time.sleep(0.05)
            write(path, content)

        monkeypatch.setattr(video_folder, "write_atomic", slowly)
        parts = [{f"test-{index}": "a ring"} for index in range(6)]
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda part: claim(tmp_path, "shapes", part), parts))
        assert len(json.loads((tmp_path / PROMPTS).read_text())) == 6

    def test_another_prompt_of_an_id_is_refused(self, tmp_path: Path):
        claim(tmp_path, "shapes", {"test-0": "a ring", "test-1": "a star"})
        before = (tmp_path / PROMPTS).read_bytes()
        said = "holds videos of another manifest than this one of msrvtt: its test-1 is 'a star' there and"
        with pytest.raises(PosError, match=said):
            claim(tmp_path, "msrvtt", {"test-2": "a disc", "test-1": "a song"})
        assert (tmp_path / PROMPTS).read_bytes() == before
        claim(tmp_path, "shapes", {"test-2": "a disc"})
        assert list(json.loads((tmp_path / PROMPTS).read_text())) == ["test-0", "test-1", "test-2"]

    def test_a_claim_does_not_need_the_lock_of_the_folder(self, tmp_path: Path):
        claiming = threading.Thread(
            target=claim, args=(tmp_path, "shapes", {"test-0": "a ring"}), daemon=True
        )
        with lock_folder(tmp_path):
            claiming.start()
            claiming.join(timeout=10)
            assert not claiming.is_alive(), "it waits for the lock"
        assert (tmp_path / PROMPTS).exists()

    def test_damaged_prompts_are_named(self, tmp_path: Path):
        (tmp_path / PROMPTS).write_text("{")
        with pytest.raises(PosError, match=r"prompts\.json is damaged .*: remove it"):
            claim(tmp_path, "shapes", {"test-0": "a ring"})
