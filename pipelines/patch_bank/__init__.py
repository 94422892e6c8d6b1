"""The bank of training patches: every object's crop with its graph feature and where it came from.

    bank.py       a finished bank, opened: rows on the disk, columns mapped
    writer.py     one pass over the training scenes that makes one
    ledger.py     which patches were taken down, by picture and box
    removal.py    taking them down: tombstones in the bank, and what was made from it mended
    __main__.py   python -m pipelines.patch_bank --workspace=… --remove=IDS_FILE

A bank is a directory of .npy arrays with one row a patch, and `bank.json`, which says that they are whole. Neither the
writer nor the reader ever holds the patches in memory (paper section 3.2). Co-occurrence embeddings, one row a patch
too, are another stage's.

    patches        uint8   [M, h, w, C]  crops of the original pictures; C is 3, or 4 with mattes: the fourth channel is
                                         255 where a pixel is all the object's, and 0 where it is not
    coverage       float32 [M]           with mattes alone: the share of the patch that is the object's
    patch_crc32    uint32  [M]           CRC-32 of the patch's bytes
    category       int32   [M]           object category id, at least 1; 0 where the patch was removed
    graph_feature  float32 [M, D_g]      the object's feature under the scene graph encoder
    patch_id       int64   [M]           a name that stays with the patch and is never given to another
    scene_index    int32   [M]           position of the patch's scene in the training split
    object_index   int32   [M]           position of the object in its scene
    box            float32 [M, 4]        (x0, y0, x1, y1) as fractions of the picture
    image_id       unicode [M]           source picture
    license        unicode [M]           its licence, "" where unknown

A removed patch leaves a tombstone, so that rows and ids stay what they are: its patch_id, scene_index and object_index,
and zeros in every other array.
"""
