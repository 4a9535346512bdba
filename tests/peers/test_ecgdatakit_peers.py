"""SCP-ECG, ISHNE, MFER and GE MUSE as ecgdatakit reads them: files written by hand and the published examples, lead by lead."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.records.more_by_hand import Beat, ishne, mfer, muse, muse_lead, muse_waveform, scp

from ecgcam.records import read_record

pytestmark = [pytest.mark.slow, pytest.mark.peers]

MILLIVOLTS = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}
LEADS = ["I", "II", "V1"]
WALKS = list(np.cumsum(np.random.default_rng(1).integers(-20, 21, (3, 600)), axis=1))


def assert_as_ecgdatakit_has_it(path: Path, leads: int) -> None:
    from ecgdatakit import FileParser

    record = read_record(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = FileParser().parse(path)
    assert len(theirs.leads) == leads
    for lead in theirs.leads:
        scale = lead.resolution * MILLIVOLTS[lead.resolution_unit] if lead.is_raw else MILLIVOLTS[lead.units]
        assert lead.sampling_rate == record.fs
        own = record.signal[record.leads.index(lead.label)]
        np.testing.assert_allclose(own, lead.samples * scale, rtol=1e-6, atol=1e-7, err_msg=lead.label)


def test_files_by_hand(tmp_path: Path) -> None:
    beat = Beat([row[:60] for row in WALKS], 21, 2500, [(11, 31, 70), (120, 141, 180)])
    for path in (
        mfer(tmp_path / "a.mwf", LEADS, WALKS, block=100, offset=5),
        mfer(tmp_path / "b.mwf", LEADS, WALKS, big=False),
        ishne(tmp_path / "c.ecg", LEADS, WALKS),
        scp(tmp_path / "d.scp", LEADS, WALKS, order=2),
        scp(tmp_path / "e.scp", LEADS, WALKS, order=1, interval=1000, beat=beat),
        scp(tmp_path / "f.scp", LEADS, WALKS, order=0, packed=False),
        muse(tmp_path / "g.xml", muse_waveform("Rhythm", [muse_lead(*one) for one in zip(LEADS, WALKS, strict=True)])),
    ):
        assert_as_ecgdatakit_has_it(path, 3)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "leads"), [("example.scp", 12), ("muse_1.xml", 8), ("muse_3.xml", 8)])
def test_published_examples(shared: Path, name: str, leads: int) -> None:
    assert_as_ecgdatakit_has_it(shared / "cases/recordings" / name, leads)
