import sys

import pytest

from profiler.errors import InterfaceError
from profiler.rig.connect import connect
from profiler.rig.rig import FileInterface, PortAudioInterface, Rig, load_rig
from profiler.rig.simulated import Simulated


def test_a_simulated_rig_is_connected_to_the_simulation():
    interface = connect(load_rig("tweed"))
    assert isinstance(interface, Simulated)
    assert (interface.sample_rate, interface.channels) == (48_000, 2)


def test_a_file_rig_is_imported_not_connected():
    pair = FileInterface(driver="file", stimulus="a.wav", response="b.wav")
    with pytest.raises(ValueError, match="it is imported, not played"):
        connect(Rig(name="pair", maximum_send_dbfs=0.0, interface=pair))


def test_without_portaudio_the_message_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.delitem(sys.modules, "profiler.rig.portaudio", raising=False)
    monkeypatch.delattr("profiler.rig.portaudio", raising=False)  # so that both come back
    amp = PortAudioInterface(driver="portaudio", device="Scarlett")
    with pytest.raises(InterfaceError, match=r"PortAudio cannot be loaded .* apt install"):
        connect(Rig(name="amp", maximum_send_dbfs=-12.0, interface=amp))
