"""A split's pictures to be measured: drawn by a trained model, under each way of retrieval."""
