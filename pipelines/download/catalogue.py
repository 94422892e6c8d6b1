"""What the data sets' publishers offer: addresses, sizes and checksums, and where each file goes.

Sizes and SHA-256 of COCO's files are those that tensorflow-datasets lists; where none is known, none is compared.
"""

from typing import NamedTuple, Optional

_COCO = "http://images.cocodataset.org"
_VISUAL_GENOME = "https://visualgenome.org/static/data/dataset"
_VISUAL_GENOME_IMAGES = "https://cs.stanford.edu/people/rak248/VG_100K_2"
_MIB, _GIB = 2**20, 2**30


class PublishedFile(NamedTuple):
    """One file to fetch.

    address: where it is published. size: bytes, None where not known. checksum: (algorithm of hashlib, hex digits),
    None where not known. members: patterns of what is taken out of an archive; none where the file is no archive.
    folder: where that goes, within the data set's. unpacked: most bytes that it may come to.
    """

    address: str
    size: Optional[int] = None
    checksum: Optional[tuple[str, str]] = None
    members: tuple[str, ...] = ()
    folder: str = ""
    unpacked: int = 0

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rsplit("/", 1)[1]


def _json_archive(name: str, size: int) -> PublishedFile:
    return PublishedFile(f"{_VISUAL_GENOME}/{name}.zip", size, members=(name,), unpacked=4 * _GIB)


CATALOGUE: dict[str, tuple[PublishedFile, ...]] = {
    "coco_stuff": (
        PublishedFile(
            f"{_COCO}/annotations/annotations_trainval2017.zip",
            252907541,
            ("sha256", "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"),
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            unpacked=2 * _GIB,
        ),
        PublishedFile(
            f"{_COCO}/annotations/stuff_annotations_trainval2017.zip",
            None,
            ("sha1", "e7aa0f7515c07e23873a9f71d9095b06bcea3e12"),
            ("annotations/stuff_train2017.json", "annotations/stuff_val2017.json"),
            unpacked=8 * _GIB,
        ),
        PublishedFile(
            f"{_COCO}/zips/val2017.zip",
            815585330,
            ("sha256", "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
            ("val2017/*.jpg",),
            "images",
            2 * _GIB,
        ),
        PublishedFile(
            f"{_COCO}/zips/train2017.zip",
            19336861798,
            ("sha256", "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
            ("train2017/*.jpg",),
            "images",
            30 * _GIB,
        ),
    ),
    "visual_genome": (
        _json_archive("image_data.json", 1780854),
        _json_archive("objects.json", 55323929),
        _json_archive("relationships.json", 77904473),
        PublishedFile(f"{_VISUAL_GENOME}/object_alias.txt", unpacked=16 * _MIB),
        PublishedFile(f"{_VISUAL_GENOME}/relationship_alias.txt", unpacked=16 * _MIB),
        PublishedFile(
            f"{_VISUAL_GENOME_IMAGES}/images.zip", 9731705982, members=("VG_100K/*.jpg",), unpacked=20 * _GIB
        ),
        PublishedFile(
            f"{_VISUAL_GENOME_IMAGES}/images2.zip", 5471658058, members=("VG_100K_2/*.jpg",), unpacked=12 * _GIB
        ),
    ),
}
