"""Vector stores beside the memory: the same vectors, the same queries, the same filters.

`vectors.py data FOLDER` writes the data sets; `vectors.py run FOLDER SET COUNT` measures and prints a JSON line per figure.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

QUERIES = 300
K = 10
# What a filter keeps: a record carries the label when its number is a multiple.
FILTERS = {"0.1 %": 1000, "1 %": 100, "10 %": 10, "50 %": 2}


def patches():
    """8x8x3 patches of scikit-learn's two sample photos, in a random order."""
    from sklearn.datasets import load_sample_images

    views = [np.lib.stride_tricks.sliding_window_view(image, (8, 8, 3))[:, :, 0] for image in load_sample_images().images]
    rows = np.concatenate([view.reshape(-1, 192) for view in views])
    rows = rows[rows.any(axis=1)]
    return rows[np.random.default_rng(1).permutation(len(rows))].astype(np.float32)


def clusters():
    """1000 clusters in 384 dimensions."""
    random = np.random.default_rng(2)
    centres = random.normal(size=(1000, 384))
    count = 100_000 + QUERIES
    return (centres[random.integers(0, 1000, count)] + 0.4 * random.normal(size=(count, 384))).astype(np.float32)


def data(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in [("patches", patches), ("clusters", clusters)]:
        rows = make()
        rows[-QUERIES:].tofile(folder / f"{name}.queries.f32")
        rows[: min(len(rows) - QUERIES, 500_000)].tofile(folder / f"{name}.f32")


def figure(engine, case, times, recall):
    print(json.dumps({"engine": engine, "case": case, "times_ms": [t * 1e3 for t in times], "recall": recall}), flush=True)


def measure(engine, case, ask, queries, truth):
    """`ask` gives similarities; a hit counts where it is as like as the k-th true one, within 1e-4."""
    times, found, wanted = [], 0, 0
    for query, best in zip(queries, truth):
        start = time.perf_counter()
        similarities = ask(query)
        times.append(time.perf_counter() - start)
        found += sum(s >= best[-1] - 1e-4 for s in similarities)
        wanted += len(best)
    figure(engine, case, times, found / wanted)


def best(rows, queries):
    return -np.sort(-(queries @ rows.T), axis=1)[:, :K]


def run(folder, name, count):
    dimension = {"patches": 192, "clusters": 384}[name]
    load = lambda path: np.fromfile(folder / path, np.float32).reshape(-1, dimension)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rows, queries = unit(load(f"{name}.f32")[:count]), unit(load(f"{name}.queries.f32"))
    truth = {None: best(rows, queries)} | {label: best(rows[::step], queries) for label, step in FILTERS.items()}

    def usearch():
        from usearch.index import Index

        index = Index(ndim=dimension, metric="ip", dtype="f16", connectivity=16, expansion_add=128, expansion_search=128)
        index.add(np.arange(count), rows)
        for ef in (128, 256):
            index.expansion_search = ef
            measure(f"usearch f16, ef {ef}", None, lambda q: rows[index.search(q, K).keys.astype(np.int64)] @ q, queries, truth[None])

    def qdrant():
        import tempfile

        import qdrant_edge as edge

        with tempfile.TemporaryDirectory() as home:
            config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(dimension, edge.Distance.Cosine))
            shard = edge.EdgeShard.create(home, config)
            labels = lambda i: [label for label, step in FILTERS.items() if i % step == 0]
            for start in range(0, count, 1000):
                points = [edge.Point(i, rows[i].tolist(), {"label": labels(i)}) for i in range(start, min(start + 1000, count))]
                shard.update(edge.UpdateOperation.upsert_points(points))
            shard.update(edge.UpdateOperation.create_field_index("label", edge.PayloadSchemaType.Keyword))
            shard.optimize()

            def ask(label, ef):
                match = label and edge.Filter(must=[edge.FieldCondition("label", match=edge.MatchValue(label))])
                params = edge.SearchParams(hnsw_ef=ef)
                request = lambda q: edge.SearchRequest(edge.Query.Nearest(q), K, filter=match, params=params)
                return lambda q: [hit.score for hit in shard.search(request(q.tolist()))]

            for ef in (128, 256):
                measure(f"qdrant-edge, ef {ef}", None, ask(None, ef), queries, truth[None])
            for label in FILTERS:
                measure("qdrant-edge", label, ask(label, 128), queries, truth[label])
            shard.close()

    def sqlite_vec():
        import apsw
        import sqlite_vec as vec

        # Python's own sqlite3 is often built without extensions.
        database = apsw.Connection(":memory:")
        database.enable_load_extension(True)
        database.load_extension(vec.loadable_path())
        database.execute(f"create virtual table v using vec0(e float[{dimension}] distance_metric=cosine)")
        database.executemany("insert into v(rowid, e) values (?, ?)", ((i, row.tobytes()) for i, row in enumerate(rows)))
        sql = "select distance from v where e match ? and k = ?"
        few = 20
        ask = lambda q: [1 - d for (d,) in database.execute(sql, (q.tobytes(), K))]
        measure("sqlite-vec", None, ask, queries[:few], truth[None])

    for peer in (usearch, qdrant, sqlite_vec):
        try:
            peer()
        except Exception as error:  # A peer that cannot run is told, and the others are measured.
            print(json.dumps({"engine": peer.__name__, "error": str(error)}), flush=True)


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "data":
        data(Path(folder))
    else:
        run(Path(folder), rest[0], int(rest[1]))
