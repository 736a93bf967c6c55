import csv
import dataclasses
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from profiler.errors import ProfilerError
from profiler.report.export import write_figures, write_tables
from profiler.report.gallery import gallery

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_figure_is_a_file_named_after_its_title(measured_tanh, tmp_path):
    pictures = gallery([measured_tanh])[:3]
    written = write_figures(pictures, tmp_path / "figures")
    assert [path.name for path in written] == [
        "settling.svg",
        "receptive-field.svg",
        "frequency-response.svg",
    ]
    for path in written:
        root = ElementTree.parse(path).getroot()
        assert None not in (root.get("width"), root.get("height"))
        assert "var(--" not in path.read_text()  # stands alone


def test_a_png_stands_beside_each_where_it_is_wanted(measured_tanh, tmp_path):
    written = write_figures(gallery([measured_tanh])[:1], tmp_path, png=True)
    assert [path.name for path in written] == ["settling.svg", "settling.png"]
    assert written[1].read_bytes().startswith(PNG)


def test_the_same_figure_is_the_same_file(measured_tanh, tmp_path):
    (first,) = write_figures(gallery([measured_tanh])[:1], tmp_path / "a")
    (second,) = write_figures(gallery([measured_tanh])[:1], tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_tables_hold_the_numbers_of_the_record(measured_tanh, tmp_path):
    written = write_tables([measured_tanh], tmp_path)
    (path,) = (path for path in written if path.name == "response.sweeps.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    (sweep,) = measured_tanh.analysis.response.sweeps
    assert float(rows[0]["level_dbfs"]) == sweep.level_dbfs
    curves = [path for path in written if "frequency_hz" in path.read_text().split("\n")[0]]
    assert curves, "no table of curves"


def test_several_devices_have_a_folder_each(measured_tanh, tmp_path):
    other = dataclasses.replace(measured_tanh, name="My amp #2")
    written = write_tables([measured_tanh, other], tmp_path)
    assert {path.parent.name for path in written} == {"tanh", "my-amp-2"}


def test_where_nothing_can_be_written_that_is_an_error(measured_tanh, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProfilerError, match="cannot be written"):
        write_figures(gallery([measured_tanh])[:1], tmp_path / "file")


def test_numbers_are_written_to_their_last_bit(measured_tanh, tmp_path):
    written = write_tables([measured_tanh], tmp_path)
    told = "\n".join(path.read_text() for path in written)
    values = np.array(measured_tanh.analysis.response.sweeps[0].magnitude_db, dtype=object)
    assert all(repr(value) in told for value in values if value is not None)
