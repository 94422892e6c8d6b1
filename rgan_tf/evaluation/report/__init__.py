"""The page evaluation/report.html: figures, curves, scenes and where their patches come from."""
