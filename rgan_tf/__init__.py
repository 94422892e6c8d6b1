"""RetrieveGAN in TensorFlow: scene graphs to images through differentiable patch retrieval."""

__version__ = "0.1.0"
