"""SciPy's milp beside ours: for each line `FILE TASKS SLOTS` on standard input, the least cost and seconds.

The file holds what each task costs at each slot and, last in its row, what it costs to give it to nobody; infinite where it must not be.
"""

import sys
import time

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

for line in sys.stdin:
    path, tasks, slots = line.rsplit(maxsplit=2)
    tasks, slots = int(tasks), int(slots)
    costs = np.fromfile(path, "<f8").reshape(tasks, slots + 1)
    start = time.perf_counter()
    task, slot = np.nonzero(np.isfinite(costs))
    pairs = np.arange(len(task))
    ones = np.ones(len(task))
    each_once = csr_array((ones, (task, pairs)), shape=(tasks, len(task)))
    taken = slot < slots
    no_two = csr_array((ones[taken], (slot[taken], pairs[taken])), shape=(slots, len(task)))
    found = milp(
        costs[task, slot],
        integrality=ones,
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(each_once, 1, 1), LinearConstraint(no_two, 0, 1)],
        options={"mip_rel_gap": 0.0},
    )
    print(found.fun, time.perf_counter() - start, flush=True)
