"""What takes the place of a removed object: a Parquet file with the columns of bars and no bar.

An object store deletes whatever has a name by then, and so perhaps what another writer has put there in the meantime;
but it replaces only the version that is meant. So a removed object becomes a void: nothing for us, and no row for the
engines that read the dataset. The next file of that name replaces it.
"""

# Of each, so that it is known in a list of objects. A file of ours with a single bar takes 1,900 or more; of one that
# was cut off, blocks are left.
VOID_BYTES = 1009

_MARK = b"tv_etl: void\n"


def void(stamp: bytes) -> memoryview:
    """The bytes of one; those with another stamp differ."""
    # pyarrow is slow to start, and a commit seldom removes anything.
    from tv_etl.lake.sealed import encode_sealed
    from tv_etl.tradingview.bar_schema import BAR_SCHEMA

    mark = _MARK + stamp
    padding = VOID_BYTES - len(encode_sealed(BAR_SCHEMA.empty_table(), mark, store_schema=False))
    return encode_sealed(BAR_SCHEMA.empty_table(), mark + bytes(padding), store_schema=False)


def is_void(content: bytes) -> bool:
    """True for the bytes of a void."""
    return len(content) == VOID_BYTES and _MARK in content
