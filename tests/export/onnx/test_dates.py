"""Zones as tables say what the library's zones say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multilayer.export.onnx.dates import FIRST, LAST, transitions
from multilayer.table.dates import in_zone

ZONES = (
    "Europe/Oslo",
    "America/New_York",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "+05:30",
)
TABLES = {zone: transitions(zone) for zone in ZONES}


def offsets_of(zone, seconds):
    """By the table, and the 400 years before 2500 for ever."""
    quarters, offsets = TABLES[zone]
    start = int(np.datetime64("2100-01-01").astype(int)) * 96
    asked = np.clip(seconds // 900, FIRST // 900, LAST // 900)
    asked = np.where(asked < start, asked, (asked - start) % (146_097 * 96) + start)
    return offsets[np.searchsorted(quarters, asked, side="right")]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ZONES), st.lists(st.integers(-80_000_000_000, 300_000_000_000), min_size=1, max_size=20)
)
def test_any_moment_has_the_offset_of_its_zone(zone, seconds):
    seconds = np.array(seconds)
    moments = (seconds * 1_000_000).astype("M8[us]")
    assert np.array_equal((in_zone(moments, zone) - moments).astype(np.int64), offsets_of(zone, seconds))


@pytest.mark.parametrize("zone", ZONES)
def test_every_quarter_of_an_hour_around_a_change_has_it(zone):
    quarters, _ = TABLES[zone]
    seconds = ((quarters[:, None] + np.arange(-9, 9)) * 900).ravel()
    moments = (seconds * 1_000_000).astype("M8[us]")
    assert np.array_equal((in_zone(moments, zone) - moments).astype(np.int64), offsets_of(zone, seconds))
