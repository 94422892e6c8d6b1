"""Published files of the photographs' data sets, fetched and unpacked: python -m pipelines.download."""
