"""The verdict over two evaluated folders of the same prompts, from the features that are stored with them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pos.errors import PosError
from pos.metrics.attributes import hits
from pos.metrics.evaluation import METRICS, Difference, Score, compare, missing, score
from pos.metrics.features import FeatureSet
from pos.metrics.reference import Reference
from pos.metrics.statistics import permutation_p
