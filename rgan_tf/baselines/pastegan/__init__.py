"""PasteGAN (Li, Ma, Bai, Duan, Wei and Wang: PasteGAN: A Semi-Parametric Method to Generate Image from Scene Graph,
NeurIPS 2019)."""
