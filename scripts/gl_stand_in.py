"""Stand-ins for libGL.so.1 and libEGL.so.1, written beside the skia wheel that asks for them.

The skia wheel is linked to both libraries for its GPU back end. hpcwise draws on the CPU and never calls
them, yet without them `import skia` fails, and a bare machine or compute node has neither them nor, for a
person who is not root, a way to get them. The wheel looks in its own `skia_python.libs` folder first
(its RPATH), so two small libraries there, in which every function returns 0, make it load everywhere.
They hold one instruction pair and the names that this very wheel leaves undefined.

usage: python scripts/gl_stand_in.py SITE_PACKAGES       (x86-64 Linux only)
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

#: xor eax, eax; ret
RETURN_ZERO = b"\x31\xc0\xc3"

SHT_DYNSYM = 11
PT_LOAD, PT_DYNAMIC, PT_GNU_STACK = 1, 2, 0x6474E551
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_SONAME = 4, 5, 6, 10, 11, 14
READ_EXECUTE, READ_WRITE = 5, 6
PAGE = 4096


def undefined_names(library: Path) -> list[str]:
    """Names of the symbols that a 64-bit little-endian ELF library expects others to define."""
    data = library.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise SystemExit(f"gl_stand_in: {library}: not a 64-bit little-endian ELF file")
    table, entry_size, count = (
        struct.unpack_from("<Q", data, 40)[0],
        *struct.unpack_from("<HH", data, 58),
    )
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * entry_size) for i in range(count)]
    names = []
    for header in headers:
        if header[1] != SHT_DYNSYM:
            continue
        strings = headers[header[6]][4]
        for at in range(header[4], header[4] + header[5], 24):
            name, _info, _other, section = struct.unpack_from("<IBBH", data, at)
            if name and section == 0:
                end = data.index(b"\0", strings + name)
                names.append(data[strings + name : end].decode())
    return sorted(set(names))


def sysv_hash(name: str) -> int:
    """The hash of the System V ABI, by which the dynamic loader finds a name."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high
    return value


def library(soname: str, names: list[str]) -> bytes:
    """A shared library for x86-64 in which every one of `names` is a function that returns 0.

    Layout: page 0 holds headers, tables and code, mapped read and execute; page(s) after it the dynamic
    section, mapped read and write, because the loader writes into it.
    """
    strings, offsets = b"\0", {}
    for name in [soname, *names]:
        offsets[name] = len(strings)
        strings += name.encode() + b"\0"
    symbols_at = 64 + 4 * 56  # after the file header and four program headers
    symbols_size = 24 * (len(names) + 1)
    hash_at = symbols_at + symbols_size
    buckets = max(1, len(names) // 2)
    heads, chain = [0] * buckets, [0] * (len(names) + 1)
    for index, name in enumerate(names, start=1):
        slot = sysv_hash(name) % buckets
        chain[index], heads[slot] = heads[slot], index
    hash_table = struct.pack(f"<II{buckets}I{len(chain)}I", buckets, len(chain), *heads, *chain)
    strings_at = hash_at + len(hash_table)
    code_at = -(-(strings_at + len(strings)) // 16) * 16
    dynamic_at = -(-(code_at + len(RETURN_ZERO)) // PAGE) * PAGE
    # Global function (0x12), default visibility, section 1: any index but 0, which means undefined.
    symbols = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", offsets[name], 0x12, 0, 1, code_at, len(RETURN_ZERO)) for name in names
    )
    entries = [
        (DT_SONAME, offsets[soname]), (DT_HASH, hash_at), (DT_STRTAB, strings_at),
        (DT_SYMTAB, symbols_at), (DT_STRSZ, len(strings)), (DT_SYMENT, 24), (0, 0),
    ]
    dynamic = b"".join(struct.pack("<QQ", tag, value) for tag, value in entries)
    segments = [
        (PT_LOAD, READ_EXECUTE, 0, code_at + len(RETURN_ZERO), PAGE),
        (PT_LOAD, READ_WRITE, dynamic_at, len(dynamic), PAGE),
        (PT_DYNAMIC, READ_WRITE, dynamic_at, len(dynamic), 8),
        # Without this one the loader takes it that an executable stack is wanted; newer ones refuse that.
        (PT_GNU_STACK, READ_WRITE, 0, 0, 16),
    ]
    headers = b"\x7fELF\x02\x01\x01" + bytes(9)
    headers += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    for kind, flags, offset, size, align in segments:
        headers += struct.pack("<IIQQQQQQ", kind, flags, offset, offset, offset, size, size, align)
    out = bytearray(dynamic_at + len(dynamic))
    for at, part in [
        (0, headers), (symbols_at, symbols), (hash_at, hash_table), (strings_at, strings),
        (code_at, RETURN_ZERO), (dynamic_at, dynamic),
    ]:
        out[at : at + len(part)] = part
    return bytes(out)


def main(site_packages: Path) -> None:
    """Write both libraries beside the skia wheel of this environment, whole or not at all."""
    wheel = next(site_packages.glob("skia*.so"), None)
    if wheel is None:
        raise SystemExit(f"gl_stand_in: {site_packages}: no skia library; install requirements/film.txt")
    names = undefined_names(wheel)
    folder = site_packages / "skia_python.libs"
    for soname, prefix in (("libGL.so.1", "gl"), ("libEGL.so.1", "egl")):
        beside = folder / f"{soname}.new"
        beside.write_bytes(library(soname, [name for name in names if name.startswith(prefix)]))
        beside.replace(folder / soname)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
