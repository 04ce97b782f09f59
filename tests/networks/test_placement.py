import pytest
import torch

from pos.errors import PosError
from pos.networks.placement import PRECISIONS, resolve_device, resolve_precision


def test_an_absent_device_is_named():
    with pytest.raises(PosError, match="device=tpu9 is not on this machine"):
        resolve_device("tpu9")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == torch.device("cpu")


def test_precisions():
    assert {resolve_precision(name).itemsize for name in PRECISIONS} == {2, 4}
    with pytest.raises(PosError, match="precision=fp8 is unknown"):
        resolve_precision("fp8")
