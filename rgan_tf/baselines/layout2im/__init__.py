"""layout2im (Zhao, Meng, Yin and Sigal: Image Generation from Layout, CVPR 2019)."""
