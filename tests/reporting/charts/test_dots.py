from __future__ import annotations

import re
from xml.etree import ElementTree

from pos.reporting.charts.dots import HEIGHT, WIDTH, dots


def test_dots_keep_their_order_and_stay_inside():
    kinds = {"near & far": [(0.0, -1.0), (1.0, 5.0)], "others": [(0.5, 2.0)]}
    drawing = dots("Title <1>", kinds, "across", "up", ("level", 7.0))
    ElementTree.fromstring(drawing)
    places = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawing)]
    (left, low), (right, high), (middle, between) = places
    assert 0 < left < middle < right < WIDTH
    assert 0 < high < between < low < HEIGHT
    assert re.findall(r'circle class="(k\d)"', drawing) == ["k0", "k0", "k1"]
    level = float(re.search(r'class="level"[^>]* y1="([\d.]+)"', drawing)[1])
    assert 0 < level < high


def test_equal_values_have_a_place():
    drawing = dots("one", {"a": [(1.0, 0.0), (1.0, 0.0)]}, "x", "y")
    assert "nan" not in drawing
    assert drawing.count("<circle") == 2
