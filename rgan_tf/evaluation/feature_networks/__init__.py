"""The networks whose features the distances between pictures are taken in."""
