"""One trainer a stage, on one loop."""
