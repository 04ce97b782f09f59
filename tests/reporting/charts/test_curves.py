"""Curves: order, axes and marks."""

import math
import xml.etree.ElementTree as ElementTree

import pytest

from pos.reporting.charts.curves import HEIGHT, Point, curve, eta_position, sweep_points
from pos.reporting.tables import Column

FVD = Column("fvd", "FVD <test>", "lower", 1)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_eta_stands_at_the_weight_of_the_guided_noise():
    assert [eta_position(eta) for eta in (0, 1, math.inf)] == pytest.approx([0, math.sqrt(0.5), 1])


def sweep(values):
    return {
        "rows": {
            str(eta): {"method": {"eta": eta}, "metrics": {"fvd": {"value": v, "low": v - 1, "high": v + 1}}}
            for eta, v in values
        }
    }


def test_points_are_sorted_with_infinity_last():
    points = sweep_points(sweep([("inf", 27.0), (1, 22.0), (0, 36.0), (0.1, 35.0)]), "eta", "fvd")
    assert [point.label for point in points] == ["0", "0.1", "1", "∞"]
    assert [point.value for point in points] == [36.0, 35.0, 22.0, 27.0]


def test_the_curve_is_drawn_to_scale():
    points = sweep_points(sweep([(0, 40.0), (1, 20.0), ("inf", 30.0)]), "eta", "fvd")
    root = ElementTree.fromstring(curve(points, FVD, "eta"))
    dots = [circle.attrib for circle in root.iter(f"{NAMESPACE}circle")]
    heights = [float(dot["cy"]) for dot in dots]
    assert heights[0] < heights[2] < heights[1] < HEIGHT  # larger values stand higher
    assert heights[2] == pytest.approx((heights[0] + heights[1]) / 2, abs=0.2)
    assert [dot["class"] for dot in dots] == ["dot", "best", "dot"]
    texts = [text.text for text in root.iter(f"{NAMESPACE}text")]
    assert "FVD <test> ↓" in texts
    assert {"0", "1", "∞", "eta"} <= set(texts)


def test_a_flat_curve_without_intervals_can_be_drawn():
    svg = curve([Point("0", 0, 1.0), Point("1", 1, 1.0)], Column("is", "IS", "higher", 2), "gamma")
    assert len(list(ElementTree.fromstring(svg).iter(f"{NAMESPACE}circle"))) == 2
    assert "nan" not in svg
