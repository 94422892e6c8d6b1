"""RetrieveGAN as a row of the table of models."""
