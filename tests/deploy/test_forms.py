"""`export`: forms, names, folders and files."""

import stat

import pytest
from tests.deploy.machine_code import doubles, integers

from hotloop.deploy import FORMS, export
from hotloop.errors import TargetError


def test_forms_are_documented_and_made_for_targets():
    assert list(FORMS) == ["elf", "blob", "c", "firmware", "mpy"]
    assert all(row.doc and "\n" not in row.doc for row in FORMS.values())


def test_files_are_written_and_replaced_and_others_left_alone(tmp_path):
    folder = tmp_path / "new" / "folder"
    paths = export(doubles("aarch64"), folder, "blob", "prog")
    assert [path.name for path in paths] == ["prog.bin", "prog.h", "prog_code.c", "prog_main.c", "prog_README.txt"]
    (folder / "other.txt").write_text("mine")
    first = [path.read_bytes() for path in paths]
    paths[0].write_bytes(b"old")
    assert export(doubles("aarch64"), folder, "blob", "prog") == paths
    assert [path.read_bytes() for path in paths] == first
    assert sorted(path.name for path in folder.iterdir()) == sorted([*(path.name for path in paths), "other.txt"])


def test_executables_can_be_executed_and_texts_cannot(tmp_path):
    (path,) = export(doubles("aarch64"), str(tmp_path), "elf", "prog")
    assert path == tmp_path / "prog"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    text = export(doubles("aarch64"), tmp_path, "blob", "prog")[1]
    assert stat.S_IMODE(text.stat().st_mode) == 0o644


def test_sources_come_from_whoever_has_the_program(tmp_path):
    (path,) = export(doubles("aarch64"), tmp_path, "c", "prog", sources=lambda name: {f"{name}.c": "int x;\n"})
    assert path.read_text() == "int x;\n"
    with pytest.raises(TargetError, match="form 'c' is made from a program, not from its image"):
        export(doubles("aarch64"), tmp_path, "c", "prog")


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(TargetError, match=r"there is no form 'hex'\. There are: elf, blob, c, firmware, mpy\."):
        export(doubles("aarch64"), tmp_path, "hex", "prog")


def test_a_form_that_the_target_lacks_is_refused(tmp_path):
    with pytest.raises(TargetError, match=r"form 'elf' is not made for 'armv7em'\. It is for: x86-64-v2, x86-64-v3, aarch64,"):
        export(integers("armv7em"), tmp_path, "elf", "prog")
    with pytest.raises(TargetError, match="form 'mpy' is not made for 'aarch64'"):
        export(doubles("aarch64"), tmp_path, "mpy", "prog")


def test_options_of_other_forms_are_refused(tmp_path):
    with pytest.raises(TargetError, match=r"form 'blob' has no rate; rate=100\.0 is for form 'firmware'"):
        export(doubles("aarch64"), tmp_path, "blob", "prog", rate=100.0)


@pytest.mark.parametrize("name", ["", "1st", "a b", "../x", "for", "é", "x.y", None])
def test_a_name_that_c_does_not_take_is_refused(tmp_path, name):
    with pytest.raises(TargetError, match=r"a program cannot be named .*Use letters, digits and _"):
        export(doubles("aarch64"), tmp_path, "blob", name)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"cannot write into '.*file': File exists"):
        export(doubles("aarch64"), tmp_path / "file", "blob", "prog")
    assert (tmp_path / "file").read_text() == ""


def test_nothing_is_left_where_a_file_cannot_be_replaced(tmp_path):
    (tmp_path / "prog").mkdir()
    with pytest.raises(TargetError, match=r"cannot write into '.*': Is a directory"):
        export(doubles("aarch64"), tmp_path, "elf", "prog")
    assert [path.name for path in tmp_path.iterdir()] == ["prog"]
