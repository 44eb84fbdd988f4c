"""What names of figures mean."""

import pytest

from vtok.errors import ConfigError
from vtok.eval.run.metric_names import plan_metrics
from vtok.eval.run.set_figures import small_sets, with_kernel_distances


def test_names_are_sorted_into_what_they_ask_for():
    plan = plan_metrics(["psnr", "fid", "lpips", "sfid", "fd_alex", "precision_dinov2", "top1_efflite0", "psnr"], of="reconstructions")
    assert plan.names == ("psnr", "lpips", "rfid", "sfid", "fd_alex", "precision_dinov2", "top1_efflite0")
    assert plan.backbones == ("inception", "alex", "dinov2")
    assert plan.classifiers == ("efflite0",)
    assert [(statistic.kind, statistic.output) for statistic in plan.statistics[:2]] == [("fd", "features"), ("fd", "spatial")]


def test_fid_is_called_by_what_it_is_of():
    assert plan_metrics(["fid"], of="samples").names == ("gfid",)
    assert plan_metrics(["rfid"], of="reconstructions").names == plan_metrics(["fid"], of="reconstructions").names


def test_a_distance_on_another_network_never_is_called_fid():
    (statistic,) = plan_metrics(["fd_alex"], of="samples").statistics
    assert (statistic.name, statistic.backbone) == ("fd_alex", "alex")


@pytest.mark.parametrize("name", ["psnr", "lpips", "top1_efflite0", "agreement_efflite0", "rfid"])
def test_samples_have_no_originals(name):
    with pytest.raises(ConfigError):
        plan_metrics([name], of="samples")


@pytest.mark.parametrize(("name", "near"), [("psrn", "psnr"), ("kidd", "kid"), ("fd_", "fid"), ("fd_aleks", None)])
def test_unknown_names_have_their_nearest(name, near):
    if near is None:
        assert plan_metrics([name], of="samples").backbones == ("aleks",)  # whether there is such a network, the registry knows
        return
    with pytest.raises(ConfigError, match=f"did you mean {near}"):
        plan_metrics([name], of="reconstructions")


def test_few_pictures_get_a_kernel_distance_beside():
    plan = plan_metrics(["rfid", "fd_alex", "sfid"], of="reconstructions")
    dims = {"inception": 2048, "alex": 256}
    assert with_kernel_distances(plan, 300, lambda name, _: dims[name]).names == ("rfid", "fd_alex", "sfid", "kid")
    assert with_kernel_distances(plan, 100, lambda name, _: dims[name]).names == ("rfid", "fd_alex", "sfid", "kid", "kd_alex")
    assert with_kernel_distances(plan, 5000, lambda name, _: dims[name]) == plan
    assert "100 pictures do not fill 2,048 dimensions" in small_sets(100, 2048)
