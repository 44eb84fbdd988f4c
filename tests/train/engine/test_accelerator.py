"""The view of the machine."""

import sys
from types import SimpleNamespace

import accelerate
import pytest
from accelerate.utils import DistributedType

from vtok.errors import MissingExtraError, UnsupportedError
from vtok.train.engine.accelerator import any_process, from_first, open_accelerator


def test_shards_are_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(accelerate, "Accelerator", lambda **_: SimpleNamespace(distributed_type=DistributedType.FSDP))
    with pytest.raises(UnsupportedError, match="FSDP: checkpoints of shards"):
        open_accelerator((), tmp_path)


def test_without_the_library_its_install_line_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[train\]"'):
        open_accelerator((), tmp_path)


def test_one_process_agrees_with_itself(tmp_path):
    accelerator = open_accelerator((), tmp_path)
    assert any_process(accelerator, (True, False)) == (True, False)
    assert from_first(accelerator, lambda: 7) == 7
