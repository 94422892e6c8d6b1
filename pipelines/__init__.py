"""Data: builders, relations, the patch bank, candidate search and the tf.data input pipeline."""
