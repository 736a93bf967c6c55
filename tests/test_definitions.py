import json
import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from profiler import definitions
from profiler.definitions import Record, available, find, replacing
from profiler.errors import DefinitionError, ProfilerError


class Knob(Record):
    kind: Literal["knob"]
    turn: float = Field(ge=0.0, le=10.0, description="where it points, 0 to 10")


class Switch(Record):
    kind: Literal["switch"]
    on: bool = Field(description="up or down")


class Panel(Record):
    schema_: Literal["panel/1"] = Field(default="panel/1", alias="schema")
    name: str = Field(description="what is printed on it")
    main: Knob = Field(description="the large one")
    controls: tuple[Annotated[Knob | Switch, Field(discriminator="kind")], ...] = Field(
        default=(), description="from left to right"
    )


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))
    for kind in ("signals", "rigs"):
        (tmp_path / "home" / kind).mkdir(parents=True)
    return tmp_path / "home"


def load(tmp_path, text):
    path = tmp_path / "panel.toml"
    path.write_text(text, encoding="utf-8")
    return Panel.load_toml(path)


VALID = 'name = "tweed"\nmain = {kind = "knob", turn = 5}\n'


def test_a_record_survives_saving_and_loading(tmp_path):
    panel = load(tmp_path, VALID + '[[controls]]\nkind = "switch"\non = true\n')
    panel.save(tmp_path / "panel.json")
    assert Panel.load_json(tmp_path / "panel.json") == panel
    assert json.loads((tmp_path / "panel.json").read_text())["schema"] == "panel/1"


def test_a_record_does_not_change(tmp_path):
    panel = load(tmp_path, VALID)
    with pytest.raises(ValidationError, match="frozen"):
        panel.name = "blackface"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            VALID + "nmae = 1\n",
            "unknown key nmae: did you mean name (what is printed on it)?",
        ),
        (
            'name = "tweed"\nmain = {kind = "knob", turns = 5}\n',
            "unknown key main.turns: did you mean turn (where it points, 0 to 10)?",
        ),
        (
            'name = "tweed"\nmain = {kind = "knob", turn = 5, trun = 5}\n',
            "unknown key main.trun: did you mean turn (where it points, 0 to 10)?",
        ),
        (
            VALID + "colour = 1\n",
            "unknown key colour: the keys here are schema, name, main, controls",
        ),
        (
            'name = "tweed"\nmain = {kind = "knob", turn = 11}\n',
            "main.turn (where it points, 0 to 10): Input should be less than or equal to 10, "
            "got 11",
        ),
        (
            VALID + '[[controls]]\nkind = "knob"\nturn = "ten"\n',
            "controls.0.turn (where it points, 0 to 10): Input should be a valid number, unable "
            "to parse string as a number, got 'ten'",
        ),
        (
            VALID + '[[controls]]\nkind = "switch"\no = true\non = true\n',
            "unknown key controls.0.o: did you mean on (up or down)?",
        ),
        (
            'name = "tweed"\nmain = {kind = "knob"}\n',
            "main.turn is missing (where it points, 0 to 10)",
        ),
        ("", "name is missing (what is printed on it)"),
    ],
)
def test_a_wrong_key_is_named_with_file_key_and_meaning_in_one_line(tmp_path, text, complaint):
    with pytest.raises(DefinitionError) as refusal:
        load(tmp_path, text)
    assert str(refusal.value) == f"{tmp_path / 'panel.toml'}: {complaint}"


def test_an_unknown_kind_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(DefinitionError, match=r"controls\.0.*'knob', 'switch'") as refusal:
        load(tmp_path, VALID + '[[controls]]\nkind = "slider"\n')
    assert "\n" not in str(refusal.value)


def test_a_key_of_two_kinds_is_that_of_the_kind_that_was_chosen(tmp_path):
    # `turn` is a key of the knob, not of the switch
    with pytest.raises(DefinitionError, match=r"unknown key controls\.0\.turn: the keys here are"):
        load(tmp_path, VALID + '[[controls]]\nkind = "switch"\non = true\nturn = 3\n')


def test_toml_that_is_none_is_refused_with_its_line(tmp_path):
    with pytest.raises(DefinitionError, match=r"panel\.toml: .*line 2"):
        load(tmp_path, 'name = "tweed"\nmain = = 5\n')


def test_json_that_is_none_is_refused_with_its_line(tmp_path):
    (tmp_path / "panel.json").write_text('{"name": \n oops}')
    with pytest.raises(DefinitionError, match=r"panel\.json: .*line 2"):
        Panel.load_json(tmp_path / "panel.json")


def test_a_json_record_that_is_a_list_is_refused(tmp_path):
    (tmp_path / "panel.json").write_text("[1]")
    with pytest.raises(DefinitionError, match=r"panel\.json: the file: Input should be"):
        Panel.load_json(tmp_path / "panel.json")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "panel.toml").write_bytes(b"name = '\xff\xfe'")
    with pytest.raises(DefinitionError, match="is not text in UTF-8"):
        Panel.load_toml(tmp_path / "panel.toml")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match="no such file"):
        Panel.load_toml(tmp_path / "panel.toml")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match="cannot be read"):
        Panel.load_toml(tmp_path)


def test_a_bare_name_is_looked_up_in_the_users_folder_first(user_folder):
    shipped = available("rigs")
    own = user_folder / "rigs" / "tweed.toml"
    own.write_text("")
    assert find("rigs", "tweed") == own
    assert available("rigs") == shipped | {"tweed": own}


@pytest.mark.parametrize("name", ["./tweed.toml", "tweed.toml", "here/tweed"])
def test_a_name_with_a_suffix_or_a_slash_is_a_path(user_folder, tmp_path, monkeypatch, name):
    (user_folder / "rigs" / "tweed.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError, match="no such file"):
        find("rigs", name)
    (tmp_path / "here").mkdir()
    (tmp_path / name).write_text("")
    assert find("rigs", name) == Path(name)


def test_an_unknown_name_is_refused_with_the_nearest_ones(user_folder):
    (user_folder / "rigs" / "my-deluxe.toml").write_text("")
    with pytest.raises(DefinitionError, match="no rig is named 'my-delux': there are my-deluxe"):
        find("rigs", "my-delux")


def test_without_a_folder_of_her_own_a_user_has_the_platforms(monkeypatch):
    monkeypatch.delenv("AMPSCOPE_HOME", raising=False)
    assert definitions.user_folder("rigs").parts[-2:] == ("ampscope", "rigs")


def test_replacing_leaves_the_old_file_when_something_goes_wrong(tmp_path):
    def fail_half_way(path):
        with replacing(path) as beside:
            beside.write_text("new")
            raise RuntimeError("half way")

    path = tmp_path / "kept.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.json"]


def test_replacing_takes_the_place_of_the_old_file_and_makes_the_folder(tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"
    with replacing(path) as beside:
        beside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.json"]


def test_a_replaced_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "other").write_text("")
    with replacing(tmp_path / "file") as beside:
        beside.write_text("")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ProfilerError, match=r"file/below: cannot be written"),
        replacing(tmp_path / "file" / "below"),
    ):
        pass


def test_a_record_that_cannot_be_written_is_refused_in_one_line(tmp_path, tiny_disk):
    panel = load(tmp_path, VALID).model_copy(update={"name": "x" * 2_000_000})
    with pytest.raises(ProfilerError, match=r"panel\.json: cannot be written"):
        panel.save(tiny_disk / "panel.json")
    assert os.listdir(tiny_disk) == []
