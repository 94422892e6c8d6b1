"""What this package uses of tensorflow-gan, which is frozen: its one importer, so that leaving it is one edit."""

import tensorflow_gan as tfgan
from tensorflow_gan.python.eval import classifier_metrics

# Adversarial losses (losses.py).
modified_generator_loss = tfgan.losses.wargs.modified_generator_loss
minimax_generator_loss = tfgan.losses.wargs.minimax_generator_loss
hinge_generator_loss = tfgan.losses.wargs.wasserstein_hinge_generator_loss
least_squares_generator_loss = tfgan.losses.wargs.least_squares_generator_loss
modified_discriminator_loss = tfgan.losses.wargs.modified_discriminator_loss
minimax_discriminator_loss = tfgan.losses.wargs.minimax_discriminator_loss
hinge_discriminator_loss = tfgan.losses.wargs.wasserstein_hinge_discriminator_loss
least_squares_discriminator_loss = tfgan.losses.wargs.least_squares_discriminator_loss

# Scores of images (evaluation/feature_networks/, evaluation/metrics/).
INCEPTION_HANDLE = tfgan.eval.INCEPTION_TFHUB
INCEPTION_OUTPUTS = (tfgan.eval.INCEPTION_FINAL_POOL, tfgan.eval.INCEPTION_OUTPUT)
INCEPTION_SIZE = tfgan.eval.INCEPTION_DEFAULT_IMAGE_SIZE
classifier_score_from_logits = tfgan.eval.classifier_score_from_logits
kernel_distance_and_deviation = tfgan.eval.kernel_classifier_distance_and_std_from_activations
# The part of the Fréchet distance that takes covariances; the public functions take all activations at once.
trace_sqrt_product = classifier_metrics.trace_sqrt_product
