"""Trained models that draw scenes: from a workspace, or from an exported SavedModel, behind one small object."""

import pathlib

from rgan_tf import export_files
from rgan_tf.config import MODELS
from rgan_tf.errors import UserError
from rgan_tf.scene_generator.interface import SceneGenerator
from rgan_tf.scene_generator.of_saved_model import SavedModelGenerator
from rgan_tf.scene_generator.of_workspace import RetrievingGenerator, WorkspaceGenerator
from rgan_tf.training.systems import system_of
from rgan_tf.workspace import Workspace


def load(path, model: str = "") -> SceneGenerator:
    """A trained model, ready to draw.

    Args:
      path: a workspace; an exported version, `DIR/N`; or the folder of versions, `DIR`, for its newest.
      model: of a workspace in which several were trained, which one; see `Workspace`.

    Raises:
      UserError: it is none of these.
    """
    path = pathlib.Path(path)
    if export_files.is_version(path):
        return SavedModelGenerator(path)
    if model or any((path / name).is_dir() for name in MODELS):
        workspace = Workspace(path, model)
        retrieves = system_of(workspace.model).retrieves
        return RetrievingGenerator(workspace) if retrieves else WorkspaceGenerator(workspace)
    versions = [folder for folder in path.glob("[0-9]*") if folder.name.isdigit() and export_files.is_version(folder)]
    if not versions:
        raise UserError(f"{path} is neither a trained workspace nor an exported model; train or export one.")
    return SavedModelGenerator(max(versions, key=lambda folder: int(folder.name)))
