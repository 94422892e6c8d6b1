"""RetrieveGAN in TensorFlow: scene graphs to images through differentiable patch retrieval."""

__version__ = "0.1.0"


def load(path):
    """A trained model, ready to draw: `rgan_tf.load(PATH).generate(scene, seed=…, boxes=…, pinned=…)`.

    Args:
      path: a workspace, or an exported model.

    Returns:
      A `rgan_tf.scene_generator.SceneGenerator`.

    Raises:
      UserError: the path holds neither.
    """
    # Imported when it is asked for: TensorFlow takes seconds to start, and tools read the version.
    from rgan_tf.scene_generator import load as load_generator

    return load_generator(path)
