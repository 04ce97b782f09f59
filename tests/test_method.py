from __future__ import annotations

import json
import math

import pytest

from pos.errors import PosError
from pos.method import Method


@pytest.mark.parametrize(
    ("method", "inverts", "predicts", "rewrites"),
    [
        (Method(), False, False, False),
        (Method(eta=1.0, gamma=1.0), False, False, False),
        (Method(noise="inversion"), False, False, False),
        (Method(noise="inversion", eta=1e-3), True, False, False),
        (Method(noise="inversion", eta=math.inf), True, False, False),
        (Method(noise="npnet"), False, False, False),
        (Method(noise="npnet", eta=0.5), False, True, False),
        (Method(rewrite=True), False, False, False),
        (Method(rewrite=True, gamma=1e-3), False, False, True),
        (Method(noise="npnet", eta=0.5, rewrite=True, gamma=1), False, True, True),
    ],
)
def test_a_part_is_used_only_where_it_changes_something(
    method: Method, inverts: bool, predicts: bool, rewrites: bool
):
    assert (method.inverts, method.predicts, method.rewrites) == (inverts, predicts, rewrites)
    assert method.retrieves == (inverts or rewrites)


def test_what_has_no_effect_is_the_plain_model():
    plain = Method()
    for method in (
        Method(eta=1.0, gamma=1.0),
        Method(noise="inversion", inversion="printed", variance_preserving=True),
        Method(noise="npnet", rewrite=True),
    ):
        assert method.effective == plain
    pos = Method(noise="inversion", eta=0.3, rewrite=True, gamma=0.1, inversion="printed")
    assert pos.effective == pos
    assert Method(noise="inversion", eta=0.3, rewrite=True).effective == Method(noise="inversion", eta=0.3)
    assert Method(noise="inversion", rewrite=True, gamma=0.1).effective == Method(rewrite=True, gamma=0.1)
    assert Method(ddim_eta=1.0).effective == Method(ddim_eta=1.0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"noise": "gaussian"},
            r"method\.noise='gaussian' is unknown: choose none, inversion, npnet, diffused or moment",
        ),
        ({"eta": -0.1}, r"method\.eta=-0\.1 is not allowed: .* 0 to inf"),
        ({"eta": math.nan}, r"method\.eta=nan"),
        ({"eta": "much"}, r"method\.eta=much"),
        ({"eta": None}, r"method\.eta=None"),
        ({"gamma": 1.01}, r"gamma=1\.01 is not allowed: .* 0 to 1"),
        ({"gamma": -1}, "gamma=-1"),
        ({"gamma": math.nan}, "gamma=nan"),
        ({"gamma": "half"}, "gamma=half"),
        ({"inversion": "exact"}, r"method\.inversion='exact' is unknown: choose next, printed or fixed"),
        ({"ddim_eta": 2}, r"method\.ddim_eta=2 is not allowed: choose 0 \(deterministic\) to 1"),
        ({"ddim_eta": math.nan}, r"method\.ddim_eta=nan"),
        ({"ddim_eta": "0"}, r"method\.ddim_eta=0"),
        ({"rewrite": "no"}, r"method\.rewrite=no is not allowed: choose true or false"),
        ({"variance_preserving": 1}, r"method\.variance_preserving=1"),
        ({"dither": 1}, r"method\.dither=1"),
        ({"neighbour": "farthest"}, r"method\.neighbour='farthest' is unknown: choose nearest or random"),
        ({"vary": "video"}, r"method\.vary='video' is unknown: choose prompt or seed"),
        ({"signal": 0}, r"method\.signal=0 is not allowed: a factor above 0"),
        ({"level": 1.5}, r"method\.level=1.5 is not allowed: a share of the steps, above 0 to 1"),
        ({"level": 0}, r"method\.level=0 is not allowed"),
        ({"clips": 0}, r"method\.clips=0 is not allowed: a whole number of at least 1"),
        ({"noise": "inversion", "clips": 2}, r"method\.clips above 1 goes with noise=diffused alone"),
    ],
    ids=str,
)
def test_a_value_outside_its_range_is_one_sentence(wrong: dict, said: str):
    with pytest.raises(PosError, match=said) as raised:
        Method(**wrong)
    assert len(str(raised.value).splitlines()) == 1


def test_equal_settings_are_equal_however_they_are_written():
    written = Method(noise="inversion", eta=1, gamma=0, ddim_eta=0)
    assert repr(written) == repr(Method(noise="inversion", eta=1.0, gamma=0.0, ddim_eta=0.0))


@pytest.mark.parametrize("eta", [0.0, 0.5, math.inf])
def test_a_method_is_read_as_it_was_written(eta: float):
    method = Method(noise="inversion", eta=eta, rewrite=True, gamma=0.1, variance_preserving=True)
    record = json.loads(json.dumps(method.to_json(), allow_nan=False))
    assert Method.from_json(record) == method


def test_the_parts_that_a_method_needs():
    assert Method().parts == ()
    assert Method(noise="inversion", eta=1).parts == ("retriever",)
    assert Method(noise="npnet", eta=1).parts == ("npnet",)
    assert Method(noise="npnet", eta=1, rewrite=True, gamma=1).parts == ("retriever", "rewriter", "npnet")
    assert Method(noise="npnet", rewrite=True).parts == ()


def test_the_parts_that_our_noise_needs():
    assert Method(noise="diffused").parts == ("retriever",)
    assert Method(noise="moment").parts == ("retriever",)
    assert (Method(noise="diffused").retrieves, Method(noise="moment").retrieves) == (True, False)
