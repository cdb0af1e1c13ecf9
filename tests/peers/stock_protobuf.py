"""What protoc makes of proto/ecps.proto reads what we write, and what it writes we read. Runs without ROS.

Arguments: folder of our programs, folder to work in."""

import pathlib
import random
import struct
import subprocess
import sys
import zlib

import lz4.block
import zstandard
from google.protobuf.internal.decoder import _DecodeVarint32
from google.protobuf.internal.encoder import _VarintBytes
from grpc_tools import protoc

programs, work = map(pathlib.Path, sys.argv[1:3])
included = pathlib.Path(protoc.__file__).parent / "_proto"
assert protoc.main(["protoc", "-Iproto", f"-I{included}", f"--python_out={work}", "proto/ecps.proto"]) == 0
sys.path.insert(0, str(work))
import ecps_pb2 as pb  # noqa: E402

VALUES = [random.Random(i).random() for i in range(30_000)]
DATA = struct.pack(f"<{len(VALUES)}f", *VALUES)
HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (100, 300), }".ljust(117) + "\n"
NPY = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(HEADER)) + HEADER.encode() + DATA


def ours(program, *arguments, code=0):
    done = subprocess.run([programs / program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, f"{program} {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def delimited(path):
    data, at = path.read_bytes(), 0
    while at < len(data):
        length, at = _DecodeVarint32(data, at)
        yield data[at : at + length]
        at += length


def unshuffled(planes):
    return bytes(byte for element in zip(*planes) for byte in element)


def lz4_planes(payload):
    for _ in range(4):
        (length,) = struct.unpack_from("<I", payload)
        yield lz4.block.decompress(payload[4 : 4 + length], uncompressed_size=len(DATA) // 4)
        payload = payload[4 + length :]


def zstd_planes(payload):
    for _ in range(4):
        plane = zstandard.ZstdDecompressor().decompressobj()
        yield plane.decompress(payload)
        payload = plane.unused_data


UNPACK = {
    "zstd:3": zstandard.ZstdDecompressor().decompress,
    "none": bytes,
    "lz4": lambda payload: lz4.block.decompress(payload, uncompressed_size=len(DATA)),
    "zstd:1+shuffle": lambda payload: unshuffled(zstd_planes(payload)),
    "lz4+shuffle": lambda payload: unshuffled(lz4_planes(payload)),
}

(work / "a.npy").write_bytes(NPY)
for compression, unpack in UNPACK.items():
    # Whole frames.
    ours("ecps", "ltp", "encode", work / "a.npy", "-c", compression, "--frame-id", "laser")
    (message,) = delimited(work / "a.ltp")
    frame = pb.LTP.FromString(message)
    assert (frame.spec, frame.dtype, list(frame.shape)) == ("ltp/0.9", "f32", [100, 300])
    assert (frame.frame_id, frame.original_size, frame.header.version) == ("laser", len(DATA), 1)
    assert frame.header.checksum == zlib.crc32(frame.tensor_zstd).to_bytes(4, "big")
    assert frame.header.payload_length == len(frame.tensor_zstd)
    assert unpack(frame.tensor_zstd) == DATA, compression
    # Chunks.
    ours("ecps", "ltp", "encode", work / "a.npy", "-c", compression, "-o", work / "c.ltp", "--max-frame-bytes", 8192)
    chunks = [pb.LTPChunk.FromString(message) for message in delimited(work / "c.ltp")]
    assert len(chunks) > 3, compression
    assert [c.header.chunk_index for c in chunks] == list(range(chunks[0].header.total_chunks))
    assert all(c.header.checksum == zlib.crc32(c.chunk_data).to_bytes(4, "big") for c in chunks)
    assert [c.is_final for c in chunks] == [False] * (len(chunks) - 1) + [True]
    for key in ["frame_id", "dtype", "shape", "timestamp_ns", "original_size", "compression_level"]:
        assert all(key in c.header.metadata for c in chunks), key
    assert unpack(b"".join(c.chunk_data for c in chunks)) == DATA
    # Out of order and twice, as Python writes them again.
    again = [chunks[-1], *chunks, chunks[0]]
    written = [c.SerializeToString() for c in again]
    (work / "again.ltp").write_bytes(b"".join(_VarintBytes(len(m)) + m for m in written))
    ours("ecps", "ltp", "decode", work / "again.ltp", "-o", work / "again.npy")
    assert (work / "again.npy").read_bytes()[-len(DATA) :] == DATA


def valid(kind, message, code=0):
    (work / "message.bin").write_bytes(message.SerializeToString())
    return ours("ecps-conformance", "validate-message", "--type", kind, "--input", work / "message.bin", code=code)


# A frame that stock Python makes, with nothing but the protocol's own fields.
payload = zstandard.ZstdCompressor(level=3).compress(DATA)
header = pb.LTPFrameHeader(version=1, message_type=1, payload_length=len(payload), sequence_number=7)
header.checksum = zlib.crc32(payload).to_bytes(4, "big")
frame = pb.LTP(spec="ltp/0.9", header=header, tensor_zstd=payload, shape=[100, 300], dtype="f32", original_size=len(DATA))
frame.compression_level, frame.timestamp_ns, frame.attributes["made by"] = 3, 1_700_000_000_123_456_789, "protoc"
valid("LTP", frame)
ours("ecps-conformance", "ltp-compression", "--input", work / "message.bin", "--verify-integrity")
message = frame.SerializeToString()
(work / "p.ltp").write_bytes(_VarintBytes(len(message)) + message)
ours("ecps", "ltp", "decode", work / "p.ltp")
assert (work / "p.npy").read_bytes()[-len(DATA) :] == DATA
assert "made by" in ours("ecps", "ltp", "inspect", work / "p.ltp")
half = len(payload) // 2
for index, piece in enumerate([payload[:half], payload[half:]]):
    part = pb.LTPFrameHeader(version=1, message_type=[3, 4][index], payload_length=len(piece), sequence_number=7)
    part.total_chunks, part.chunk_index, part.checksum = 2, index, zlib.crc32(piece).to_bytes(4, "big")
    for key, value in [("frame_id", ""), ("dtype", "f32"), ("shape", "100,300"), ("timestamp_ns", "5")]:
        part.metadata[key] = value
    part.metadata["original_size"], part.metadata["compression_level"] = str(len(DATA)), "3"
    valid("LTPChunk", pb.LTPChunk(header=part, chunk_data=piece, is_final=index == 1))
    valid("LTPChunk", pb.LTPChunk(header=part, chunk_data=piece, is_final=index == 0), code=1)

# Each type, once as it should be and once not.
ack = pb.LTPFrameHeader(version=1, message_type=2, total_chunks=3)
valid("LTPAck", pb.LTPAck(header=ack, received_chunks=1, missing_chunks=[0, 2]))
valid("LTPAck", pb.LTPAck(header=ack, missing_chunks=[3]), code=1)
valid("MCP", pb.MCP(spec="mcp/1.0", id="1", prompt="go", tool_json=b"{}"))
valid("MCP", pb.MCP(spec="mcp/1.0", id="1", prompt="x" * 16385), code=1)
pose = pb.RobotPose(x=1, qw=1, frame_id="map")
valid("EAP", pb.EAP(spec="eap/0.1", id="1", set_pose=pose))
valid("EAP", pb.EAP(spec="eap/0.1", id="1", set_pose=pb.RobotPose(x=float("nan"), qw=1)), code=1)
valid("QueryReq", pb.QueryReq(query_embedding=frame, k=3, min_sim=0.5), code=1)  # 30,000 elements are no embedding
valid("Ack", pb.Ack(success=True))
event = pb.CloudEventAttributes(id="1", source="/r", type="ecps.ltp.tensor", specversion="1.0")
valid("CloudEventAttributes", event)
event.type = "ecps.other"
valid("CloudEventAttributes", event, code=1)
frame.header.checksum = b"\0\0\0\0"
assert "CRC-32" in valid("LTP", frame, code=1)
ours("ecps-conformance", "validate-message", "--type", "LTP", "--input", work / "message.bin", "--expect-failure")
ours("ecps-conformance", "validate-message", "--type", "LTP", "--input", work / "nothing", code=2)
ours("ecps-conformance", "transport-test", "--transport", "mqtt", "--config", work / "nothing", code=2)
ours("ecps-conformance", "transport-test", "--transport", "dds", "--config", work / "nothing", code=3)
print("all read on both sides")
