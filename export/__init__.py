"""Trained models for others to use: SavedModels, TF Serving, TF Hub, clients."""
