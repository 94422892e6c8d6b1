"""A page to play with a trained model: draw a scene graph, see the picture, swap the patches."""
