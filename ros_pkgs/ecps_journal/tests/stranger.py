"""Reads one segment by docs/eaplog-3.0.md alone, with nothing but Python's standard library, and prints what it found.

It checks what the document says can be checked without a signature library; anything that does not hold ends it.
"""
import base64
import hashlib
import json
import struct
import sys


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc_table()


def crc(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF


def check(true, what):
    if not true:
        sys.exit(f'stranger: {what}')


def sha(data):
    return hashlib.sha256(data).digest()


def u32(data, at):
    return struct.unpack_from('<I', data, at)[0]


def root(leaves):
    """RFC 6962, section 2.1, as it stands there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b'')
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha(b'\1' + root(leaves[:split]) + root(leaves[split:]))


def fields(message):
    """The last value of each field of a protobuf message."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        size = {0: None, 1: 8, 5: 4}.get(tag & 7) if tag & 7 != 2 else varint()
        if size is None:
            found[tag >> 3] = varint()
        else:
            found[tag >> 3], at = message[at:at + size], at + size
    return found


def main(path):
    with open(path, 'rb') as file:
        data = file.read()
    check(data[:8] == bytes.fromhex('894541504C0D0A1A'), 'magic')
    check(struct.unpack_from('<H', data, 8)[0] == 3, 'major version')
    head = data[:u32(data, 12)]
    check(crc(head[:-4]) == u32(head, len(head) - 4), 'checksum of the superblock')
    check(struct.unpack_from('<Q', head, 24)[0] == 0, 'incompatible flags')
    segment, first = struct.unpack_from('<QQ', head, 72)
    peaks, robot, verifier, schema = struct.unpack_from('<HHHI', head, 136)
    check(first == 1 and peaks == 0, 'this stranger reads first segments alone')
    names = head[146:146 + robot + verifier].decode()

    previous, at, leaves, kinds = sha(head), len(head), [], {}
    while at < len(data) and u32(data, at) != 0xFFFFFFFF:
        record = data[at:at + u32(data, at)]
        kind, direction, zero, sequence = struct.unpack_from('<HBBQ', record, 4)
        check(crc(record[:80]) == u32(record, 80), 'checksum of a header')
        check(crc(record[:-4]) == u32(record, len(record) - 4), 'checksum of a record')
        check(direction < 3 and zero == 0, 'direction')
        check(sequence == first + len(leaves), 'sequence')
        check(record[48:80] == previous, 'chain')
        previous = sha(b'\0' + record)
        if kind == 16:
            note = fields(record[84:-4])[2].decode().split('\n')
            check(base64.b64decode(note[2]) == root(leaves[:int(note[1])]), 'root of a checkpoint')
        leaves.append(previous)
        kinds[kind] = kinds.get(kind, 0) + 1
        at += len(record)

    footer = data[at:]
    check(u32(footer, 4) == len(footer) == u32(footer, len(footer) - 16), 'lengths of the footer')
    check(crc(footer[:-12]) == u32(footer, len(footer) - 12) and footer[-8:] == b'EAPLEND\n', 'end of the footer')
    payload = fields(footer[8:-16])
    index = fields(payload[1])
    check(index[2] == len(leaves) and index[3] == previous, 'last record in the index')
    note = payload[2].decode().split('\n')
    check(int(note[1]) == len(leaves) and base64.b64decode(note[2]) == root(leaves), 'root in the footer')
    check(note[4] == f'index {segment} {base64.b64encode(sha(payload[1])).decode()}', 'digest of the index')
    print(json.dumps({'robot': names[:robot], 'verifier': names[robot:], 'schema': schema, 'kinds': kinds}))


main(sys.argv[1])
