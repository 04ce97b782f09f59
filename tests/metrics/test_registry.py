"""What the registry takes and refuses."""

from dataclasses import replace

import pytest

from pos.errors import PosError
from pos.metrics import registry
from pos.metrics.fid import FID
from pos.metrics.registry import get_metric, register, registered


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Metrics that a test registers are gone after it."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))


def test_a_registered_metric_is_found_and_comes_last_in_its_group():
    mine = replace(FID, name="mine", group="extra")
    register(mine)
    assert get_metric("mine") is mine
    assert registered("extra")[-1] is mine
    assert mine not in registered("paper", "shapes")


def test_a_taken_name_is_refused():
    register(FID)  # the same object again is no second metric
    with pytest.raises(PosError, match="There is a metric fid already: give the new one another name"):
        register(replace(FID, label="another"))
    assert get_metric("fid") is FID


def test_an_unknown_name_is_refused():
    with pytest.raises(PosError, match="There is no metric fidd, only fid, clip_fid, "):
        get_metric("fidd")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "my-metric", "name='my-metric' of a metric may have letters, digits and underscores only"),
        ("better", "up", "better='up' of the metric fid must be lower or higher"),
        ("digits", -1, "digits=-1 of the metric fid must be at least 0"),
    ],
)
def test_bad_fields_are_refused(field, value, message):
    with pytest.raises(PosError, match=message):
        replace(FID, **{field: value})


def test_the_order_is_the_one_of_tables():
    assert [metric.name for metric in registered("paper")] == ["fid", "clip_fid", "clipsim", "fvd", "is"]
    assert [metric.name for metric in registered("extra")] == [
        "kid",
        "fvd_videomae",
        "consistency",
        "diversity",
    ]
    assert registered()[5].name == "accuracy"
    assert {metric.detail_of for metric in registered()[10:]} == {"accuracy"}
