"""sg2im (Johnson, Gupta and Fei-Fei: Image Generation from Scene Graphs, CVPR 2018)."""
