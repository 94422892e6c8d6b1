"""Candidate patches for every object: the nearest graph features among the bank's patches of its category.

Paper section 3.2: candidates are ranked by the Euclidean distance between the graph feature of the object and those of
the bank's patches. Three ways to search stand behind one interface: exhaustive search, ScaNN, and FAISS. All order what
they return by distance, in double precision, and by row where distances are equal, and two builds find the same.
"""
