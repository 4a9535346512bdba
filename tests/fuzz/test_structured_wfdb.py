"""Valid WFDB records by construction are read as they were written, sample by sample."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ecgcam.records import Record, read_record
from ecgcam.records.readers import partial_length, read_stretch
from tests.fuzz.structured import a_folder, examples
from tests.fuzz.structured_wfdb import Written, common_points, records


def assert_as_written(record: Record, written: Written) -> None:
    """Every lead's millivolts, those of a slower lead where both have a sample; nothing beside them but derived leads."""
    leads = written.leads()
    most = max(per_frame for per_frame, _ in leads.values())
    assert record.fs == np.float64(written.fs) * most
    assert record.samples == written.frames * most
    assert set(record.leads) == {*leads, *record.derived}
    assert not {*leads} & {*record.derived}
    for lead, (per_frame, wanted) in leads.items():
        row = record.signal[record.leads.index(lead)]
        if per_frame == most:
            np.testing.assert_allclose(row, wanted, rtol=1e-6, atol=1e-12, err_msg=lead)
        elif np.isfinite(wanted).all():
            slow, fast = common_points(per_frame, most, len(wanted))
            np.testing.assert_allclose(
                row[fast], wanted[slow], rtol=1e-5, atol=1e-5 * np.abs(wanted).max(), err_msg=lead
            )
    assert not any("checksum" in note for note in record.notes)


@examples
@given(records())
def test_wfdb(written: Written) -> None:
    with a_folder() as folder:
        assert_as_written(read_record(written.write(folder)), written)


@examples
@given(records(several_rates=True))
def test_wfdb_of_several_rates(written: Written) -> None:
    with a_folder() as folder:
        assert_as_written(read_record(written.write(folder)), written)


@examples
@given(records(skewed=True))
def test_wfdb_with_skews(written: Written) -> None:
    with a_folder() as folder:
        assert_as_written(read_record(written.write(folder)), written)


@examples
@given(records(several_rates=True, skewed=True), st.data())
def test_a_stretch_of_wfdb_is_the_whole_there(written: Written, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, written.frames - 1))
    end = data.draw(st.integers(begin + 1, written.frames))
    with a_folder() as folder:
        path = written.write(folder)
        whole, length = read_record(path), partial_length(path)
        if length is None:  # differences to the sample before: only the whole tells
            assert any(group.fmt in {"8", "310", "311"} for group in written.groups)
            return
        assert length == (written.fs, written.frames, True)
        part = read_stretch(path, begin / written.fs, end / written.fs)
    assert part.samples == whole.samples
    leads = written.leads()
    most = max(per_frame for per_frame, _ in leads.values())
    assert begin * most - most <= part.first <= begin * most
    assert part.first + part.signal.shape[1] >= end * most
    for lead in (lead for lead, (per_frame, _) in leads.items() if per_frame == most):
        wanted = whole.signal[whole.leads.index(lead), part.first : part.first + part.signal.shape[1]]
        np.testing.assert_array_equal(part.signal[part.leads.index(lead)], wanted, err_msg=lead)
