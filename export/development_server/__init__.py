"""tensorflow/serving's API over gRPC and REST, in this process, for one person on one machine."""
