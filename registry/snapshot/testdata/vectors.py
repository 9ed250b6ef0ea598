#!/usr/bin/env python3
"""Computes the digests in vectors.txt, by nothing but what its head says.

Reads vectors.txt from the standard input and writes it with every digest as
it ought to be. It shares no code with modyard, nor with a library for tar.
"""

import hashlib
import json
import sys
import unicodedata

PREFIX = "modyard/snapshot/"


def octal(number, width):
    return b"%0*o\0" % (width - 1, number)


def header(name, typeflag, size, mode, devices=True, prefix=b""):
    block = bytearray(512)

    def put(at, data):
        block[at:at + len(data)] = data

    put(0, name)
    put(100, octal(mode, 8))
    put(108, octal(0, 8))  # uid
    put(116, octal(0, 8))  # gid
    put(124, octal(size, 12))
    put(136, octal(0, 12))  # mtime
    put(148, b" " * 8)
    put(156, typeflag)
    put(257, b"ustar\x0000")
    if devices:
        put(329, octal(0, 8))
        put(337, octal(0, 8))
    put(345, prefix)
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


def padded(data):
    return data + b"\0" * (-len(data) % 512)


def split(name):
    """The prefix and name fields of USTAR, or None when it cannot hold the name."""
    if not name.isascii():
        return None
    if len(name) <= 100:
        return "", name
    at = name[:156].rfind("/")
    if at <= 0 or at > 155 or len(name) - at - 1 > 100:
        return None
    return name[:at], name[at + 1:]


def ascii_only(name):
    return name.encode("ascii", "ignore")


def record(key, value):
    """One PAX record, which begins with its own length."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def entry(name, content):
    fields = split(name)
    if fields is not None:
        head = header(fields[1].encode(), b"0", len(content), 0o755, prefix=fields[0].encode())
        return head + padded(content)
    folder, _, base = name.rpartition("/")
    extended = ascii_only(folder + "/PaxHeaders.0/" + base)[:100].rstrip(b"/")
    records = record(b"path", name.encode())
    short = ascii_only(name)
    if len(short) > 100:
        short = short[:100]
        if short.endswith(b"/"):
            short = short.rstrip(b"/")
    return (header(extended, b"x", len(records), 0, devices=False) + padded(records)
            + header(short, b"0", len(content), 0o755) + padded(content))


def digest(files):
    names = {PREFIX + unicodedata.normalize("NFC", n): c for n, c in files}
    tar = b"".join(entry(n, names[n]) for n in sorted(names, key=lambda n: n.encode()))
    return hashlib.sha256(tar + b"\0" * 1024).hexdigest()


def main():
    files = []
    decode = json.JSONDecoder().raw_decode
    for line in sys.stdin.read().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "tree":
            files = []
        elif kind == "file":
            name, at = decode(rest)
            content, end = decode(rest, at + 1)
            times = rest[end:].removeprefix(" * ")
            files.append((name, content.encode() * int(times or 1)))
        elif kind == "sha256":
            line = "sha256 " + digest(files)
        sys.stdout.buffer.write(line.encode() + b"\n")


if __name__ == "__main__":
    main()
