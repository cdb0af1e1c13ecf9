"""SciPy's linear_sum_assignment beside ours: for each line `FILE SIZE` on standard input, the least cost and seconds."""

import sys
import time

import numpy as np
from scipy.optimize import linear_sum_assignment

for line in sys.stdin:
    path, size = line.rsplit(maxsplit=1)
    costs = np.fromfile(path, "<f8").reshape(int(size), int(size))
    start = time.perf_counter()
    rows, columns = linear_sum_assignment(costs)
    seconds = time.perf_counter() - start
    print(costs[rows, columns].sum(), seconds, flush=True)
