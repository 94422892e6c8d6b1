"""The systems that the paper's Table 1 compares with, each written from its paper in a room of its own."""
