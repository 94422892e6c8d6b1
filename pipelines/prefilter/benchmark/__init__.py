"""The prefilter beside other libraries for the same search: python -m pipelines.prefilter.benchmark."""
