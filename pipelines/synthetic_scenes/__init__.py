"""Drawn scenes with a hidden style: a data set without a download, whose compatibility has a ground truth."""
