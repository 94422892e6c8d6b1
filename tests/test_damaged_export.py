"""Damaged files of an exported version: named before anything is loaded, served or packed."""

import shutil

import pytest
from damages import KINDS, Refusal, answer_of, damaged, files_of

import rgan_tf
from export import hub
from export.development_server.loaded_model import ServedModel
from rgan_tf import export_files
from rgan_tf.errors import UserError

WARM_UP = "tf_serving_warmup_requests"
CARD = "model_card.md"


@pytest.fixture
def version(tiny_export, tmp_path):
    return shutil.copytree(tiny_export / "1", tmp_path / "models" / "1")


def pack(folder):
    return hub.pack(folder, folder.parents[1] / "model.tar.gz").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_named(version, kind):
    files = files_of(version)
    assert len(files) == 9
    for path in files:
        with damaged(path, kind):
            found = answer_of(lambda: pack(version))
            seen = isinstance(found, Refusal) and found.names(path)
            assert seen or path.name == "files.json", path
            # What a byte changed in variables is told by their own checksums, when they are loaded.
            if path.name in (CARD, "files.json") or (path.parent.name == "variables" and kind == "changed"):
                continue
            for read in (rgan_tf.load, lambda folder: ServedModel(folder.parent, "m")):
                if path.name == WARM_UP and read is rgan_tf.load:
                    continue
                found = answer_of(lambda read=read: read(version))
                assert isinstance(found, Refusal) and found.names(path) and "export" in found.text, path
    export_files.check(version, everything=True)


def test_variables_are_checked_as_they_are_loaded(version):
    (data,) = version.glob("variables/variables.data*")
    with damaged(data, "changed"):
        for read in (rgan_tf.load, lambda folder: ServedModel(folder.parent, "m")):
            with pytest.raises(UserError, match=str(version)):
                read(version)


def test_a_damaged_version_is_not_passed_over_for_an_older_one(version):
    (shutil.copytree(version, version.parent / "2") / "saved_model.pb").unlink()
    with pytest.raises(UserError, match="2/saved_model.pb is missing; export the model again"):
        rgan_tf.load(version.parent)


def test_a_version_of_before_there_were_checksums_is_taken_as_it_is(version):
    (version / export_files.FILES).unlink()
    export_files.check(version, everything=True)
    for name, kind in (("saved_model.pb", "cut"), ("variables/variables.index", "cut"), ("saved_model.pb", "missing")):
        with damaged(version / name, kind):
            for read in (rgan_tf.load, lambda folder: ServedModel(folder.parent, "m")):
                assert isinstance(answer_of(lambda read=read: read(version)), Refusal)
