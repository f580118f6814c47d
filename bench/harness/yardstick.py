"""A fixed piece of work, by which figures of different machines, and of a noisy one, can be compared.

`yardstick.py deflate` compresses a text that is made here, `yardstick.py hash` hashes a hash again and again: the
one is bound by memory, the other is not.
"""

import hashlib
import sys
import zlib

# Less than a second each on a machine of 2022.
LINES = 120_000
HASHES = 3_000_000


def deflate():
    text = "".join(
        f"{hashlib.sha256(b'%d' % at).hexdigest()} GET /page/{at * 7919 % 1000}?item={at % 97} HTTP/1.1\n"
        for at in range(LINES)
    )
    return len(zlib.compress(text.encode(), 9))


def hash_again():
    digest = b""
    for _ in range(HASHES):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


if __name__ == "__main__":
    print({"deflate": deflate, "hash": hash_again}[sys.argv[1]]())
