"""A data set on one page, before a model is trained on it: python -m pipelines.inspect --workspace=…."""
