"""Vector stores beside the memory: the same vectors, the same queries, the same filters.

`vectors.py data FOLDER` writes the data sets. `vectors.py serve FOLDER SET COUNT` builds the stores, prints as JSON which there
are and how alike the last of the true hits of each query is, and then answers a line `{"engine", "case", "from", "to"}` with the
times of these queries and how many of their hits are true.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

QUERIES = 300
K = 10
# What a filter keeps: a record carries the label when its number is a multiple.
FILTERS = {"0.1 %": 1000, "1 %": 100, "10 %": 10, "50 %": 2}
EF = (128, 256, 512)


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
    from sklearn.datasets import load_sample_images

    folder.mkdir(parents=True, exist_ok=True)
    np.stack(load_sample_images().images).tofile(folder / "photos.u8")
    for name, make in [("patches", patches), ("clusters", clusters)]:
        rows = make()
        rows[-QUERIES:].tofile(folder / f"{name}.queries.f32")
        rows[: min(len(rows) - QUERIES, 500_000)].tofile(folder / f"{name}.f32")


def usearch(rows, _):
    """Each way of asking: how a query is handed over, how it is asked, how like its hits are, and the filters it knows."""
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="ip", dtype="f16", connectivity=16, expansion_add=128)
    index.add(np.arange(len(rows)), rows)

    def ask(query, _, ef):
        index.expansion_search = ef
        return index.search(query, K)

    # By the vectors as they are: its own distances are those of f16.
    alike = lambda query, hits: rows[hits.keys.astype(np.int64)] @ query
    way = lambda ef: (lambda query: query, lambda query, label: ask(query, label, ef), alike, [None])
    return {f"usearch f16, ef {ef}": way(ef) for ef in EF}


def qdrant(rows, home):
    import qdrant_edge as edge

    config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(rows.shape[1], edge.Distance.Cosine))
    shard = edge.EdgeShard.create(home, config)
    labels = lambda i: [label for label, step in FILTERS.items() if i % step == 0]
    for start in range(0, len(rows), 1000):
        numbers = range(start, min(start + 1000, len(rows)))
        points = [edge.Point(i, rows[i].tolist(), {"label": labels(i)}) for i in numbers]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.update(edge.UpdateOperation.create_field_index("label", edge.PayloadSchemaType.Keyword))
    shard.optimize()

    def ask(query, label, ef):
        match = label and edge.Filter(must=[edge.FieldCondition("label", match=edge.MatchValue(label))])
        request = edge.SearchRequest(edge.Query.Nearest(query), K, filter=match, params=edge.SearchParams(hnsw_ef=ef))
        return shard.search(request)

    alike = lambda _, hits: [hit.score for hit in hits]
    way = lambda ef: (lambda query: query.tolist(), lambda query, label: ask(query, label, ef), alike, [None, *FILTERS])
    return {f"qdrant-edge, ef {ef}": way(ef) for ef in EF}


def sqlite_vec(rows, _):
    import apsw
    import sqlite_vec as vec

    # Python's own sqlite3 is often built without extensions.
    database = apsw.Connection(":memory:")
    database.enable_load_extension(True)
    database.load_extension(vec.loadable_path())
    database.execute(f"create virtual table v using vec0(e float[{rows.shape[1]}] distance_metric=cosine)")
    database.executemany("insert into v(rowid, e) values (?, ?)", ((i, row.tobytes()) for i, row in enumerate(rows)))
    sql = "select distance from v where e match ? and k = ?"
    ask = lambda query, _: database.execute(sql, (query, K)).fetchall()
    return {"sqlite-vec": (lambda query: query.tobytes(), ask, lambda _, hits: [1 - d for (d,) in hits], [None])}


def serve(folder, name, count):
    dimension = {"patches": 192, "clusters": 384}[name]
    load = lambda path, rows: np.fromfile(folder / path, np.float32, rows * dimension).reshape(-1, dimension)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rows, queries = unit(load(f"{name}.f32", count)), unit(load(f"{name}.queries.f32", QUERIES))
    last = lambda rows: (-np.partition(-(queries @ rows.T), K - 1, axis=1)[:, K - 1]).tolist()
    truth = {"all": last(rows)} | {label: last(rows[::step]) for label, step in FILTERS.items()}
    engines, broken = {}, {}
    with tempfile.TemporaryDirectory() as home:
        for store in (usearch, qdrant, sqlite_vec):
            try:
                engines |= store(rows, home)
            except Exception as error:  # A store that cannot run is told, and the others are measured.
                broken[store.__name__] = str(error)
        cases = {engine: ["all" if case is None else case for case in cases] for engine, (*_, cases) in engines.items()}
        print(json.dumps({"truth": truth, "engines": cases, "broken": broken}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            engine, case = request["engine"], request["case"]
            shape, ask, alike, _ = engines[engine]
            label = None if case == "all" else case
            times, found = [], 0
            for number in range(request["from"], request["to"]):
                query = shape(queries[number])
                start = time.perf_counter()
                hits = ask(query, label)
                times.append((time.perf_counter() - start) * 1e3)
                found += sum(bool(s >= truth[case][number] - 1e-4) for s in alike(queries[number], hits))
            print(json.dumps({"times_ms": times, "found": found}), flush=True)


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "data":
        data(Path(folder))
    else:
        serve(Path(folder), rest[0], int(rest[1]))
