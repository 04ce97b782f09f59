from __future__ import annotations

import json

import pytest

from pos.errors import PosError
from pos.tracking.dashboard import as_json, build, publish
from tests.tracking.conftest import KEY


def sections(**settings) -> dict[str, list[dict]]:
    """The panels as they would be sent, by section."""
    spec = json.loads(as_json(build("me", "pos", **settings)))
    return {section["name"]: section["panels"] for section in spec["section"]["panelBankConfig"]["sections"]}


def test_the_dashboard_has_tables_curves_cost_and_a_wall():
    found = sections(wall=2)
    assert list(found) == ["Tables", "Eta and gamma", "Cost against quality", "Video wall"]
    tables = json.dumps(found["Tables"])
    assert all(f'"{table}"' in tables for table in ("results", "cost", "side_by_side"))
    axes = [
        (p["config"]["xAxis"], p["config"]["yAxis"]) for p in found["Eta and gamma"] if "xAxis" in p["config"]
    ]
    assert ("config:eta.value", "summary:fvd") in axes
    assert ("config:gamma.value", "summary:clipsim") in axes
    costs = [(p["config"]["xAxis"], p["config"]["yAxis"]) for p in found["Cost against quality"]]
    assert ("summary:seconds", "summary:fvd") in costs
    assert [p["config"]["mediaKeys"] for p in found["Video wall"]] == [["video/1"], ["video/2"]]
    assert {p["viewType"] for p in found["Video wall"]} == {"Media Browser"}


def test_metrics_can_be_chosen():
    axes = {panel["config"]["yAxis"] for panel in sections(quality=["is"])["Cost against quality"]}
    assert axes == {"summary:is"}


def test_bad_input_is_one_sentence():
    with pytest.raises(PosError, match="wall=0 is not allowed"):
        build("me", "pos", wall=0)
    with pytest.raises(PosError, match="needs a login"):
        publish(build("me", "pos"), "online")
    assert publish(build("me", "pos"), "auto") is None


def test_a_login_does_not_publish_where_wandb_is_disabled(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    workspace = build("me", "pos")
    monkeypatch.setattr(type(workspace), "save", lambda _: pytest.fail("it was sent"))
    assert publish(workspace, "auto") is None
