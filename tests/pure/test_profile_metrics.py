"""What the collected metrics mean, and which of them a stage asks for."""

from __future__ import annotations

import pytest

from tilewright.errors import InputError
from tilewright.profile.metrics import BUSIEST_UNIT, meaning, metrics, wanted
from tilewright.stages.catalogue import KINDS, stages

EVERY = [stage for kind in KINDS for stage in stages(kind)]


@pytest.mark.parametrize("name", sorted({metric for stage in EVERY for metric in stage.metrics}))
def test_every_metric_that_a_stage_reads_has_a_meaning(name: str) -> None:
    metric = metrics()[name]
    assert metric.meaning
    assert metric.stages == tuple(dict.fromkeys(s.name for s in EVERY if name in s.metrics))


def test_every_metric_is_there_for_a_stage_or_for_all_of_them() -> None:
    assert [metric.name for metric in metrics().values() if not (metric.stages or metric.always)] == []


def test_percentages_and_the_duration_have_their_units() -> None:
    for name, metric in metrics().items():
        assert (metric.unit == "%") == ("pct" in name)
    assert metrics()["gpu__time_duration.sum"].unit == "ns"


def test_a_stage_asks_for_its_own_metrics_and_those_always_read() -> None:
    assert set(wanted()) == set(metrics())
    some = wanted("memory_access")
    assert "l1tex__t_sector_hit_rate.pct" in some
    assert "gpu__time_duration.sum" in some
    assert "launch__registers_per_thread" not in some


def test_an_unknown_stage_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="choose among algorithm, grid_and_parallel"):
        wanted("tiles")


def test_a_metric_that_is_not_collected_by_name_is_the_busiest_unit() -> None:
    assert meaning("sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed") == BUSIEST_UNIT
