"""Where the bytes of a lake live: a directory or a bucket, and the commit that changes several files at once."""
