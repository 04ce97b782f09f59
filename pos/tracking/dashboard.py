"""The dashboard of W&B as code: tables, eta and gamma, cost against quality, and a wall of videos.

It shows the runs of rows and of one-row studies, by the names that ``pos.study.tracking`` logs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pos.errors import PosError, require
from pos.metrics.registry import registered
from pos.tracking.loggers import choose_mode

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

SETTINGS = ("eta", "eta_weight", "gamma")
COST = ("seconds", "evaluations")
TABLES = ("results", "cost", "side_by_side")


def build(
    entity: str, project: str, name: str = "POS", wall: int = 6, quality: Sequence[str] | None = None
) -> Workspace:
    """The workspace; nothing is sent.

    Args:
        entity: user or team.
        project: whose runs it shows.
        name: of the view.
        wall: how many videos of each run are shown, from the first.
        quality: metrics that are drawn; None takes those with ``Metric.plotted``.

    Raises:
        PosError: wandb-workspaces is not installed, or a wall of no video.
    """
    quality = [metric.name for metric in registered() if metric.plotted] if quality is None else quality
    panels = require("wandb_workspaces.reports.v2", extra="logging")
    workspaces = require("wandb_workspaces.workspaces", extra="logging")
    if wall < 1:
        raise PosError(f"wall={wall} is not allowed: it needs at least 1 video.")

    def scatter(x: Any, metric: str, title: str) -> Any:
        return panels.ScatterPlot(title=title, x=x, y=panels.SummaryMetric(metric))

    axes = [panels.ParallelCoordinatesPlotColumn(panels.Config(key)) for key in ("eta", "gamma")]
    axes += [panels.ParallelCoordinatesPlotColumn(panels.SummaryMetric(metric)) for metric in quality]
    sections = {
        "Tables": [panels.WeavePanelSummaryTable(table_name=table) for table in TABLES],
        "Eta and gamma": [
            *(
                scatter(panels.Config(key), metric, f"{metric} over {key}")
                for metric in quality
                for key in SETTINGS
            ),
            panels.ParallelCoordinatesPlot(title="settings and metrics", columns=axes),
        ],
        "Cost against quality": [
            scatter(panels.SummaryMetric(cost), metric, f"{metric} against {cost}")
            for metric in quality
            for cost in COST
        ],
        "Video wall": [
            panels.MediaBrowser(title=f"prompt {i}", media_keys=[f"video/{i}"], gallery_axis="run")
            for i in range(1, wall + 1)
        ],
    }
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            workspaces.Section(name=title, panels=shown, is_open=True) for title, shown in sections.items()
        ],
        runset_settings=workspaces.RunsetSettings(groupby=[workspaces.Metric("Group")]),
    )


def as_json(workspace: Workspace) -> str:
    """What would be sent to W&B."""
    return (
        json.dumps(workspace._to_model().spec.model_dump(by_alias=True, exclude_none=True), indent=1) + "\n"
    )


def publish(workspace: Workspace, mode: str) -> str | None:
    """Save a workspace at W&B.

    Returns:
        Its address; None where the mode is offline, or auto and W&B has no login or is disabled.

    Raises:
        PosError: an unknown mode, no login, or W&B cannot be reached or refuses.
    """
    import wandb

    if choose_mode(mode) != "online":
        return None
    try:
        workspace.save()
    except (wandb.errors.Error, OSError, ValueError) as error:
        raise PosError(f"W&B did not take the dashboard: {error}.") from error
    return workspace.url
