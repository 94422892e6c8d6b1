"""Real photos: COCO with its things and stuff, read from a local folder by the protocol of sg2im."""
