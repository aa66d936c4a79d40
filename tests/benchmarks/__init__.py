"""What the package costs, against what it replaces, in one run on one machine: `make bench`.

Each row of the table is a `Bench`: a measurement that is repeated, in turn, for *ours*, for the
*bare* alternative (the raw server through redis-py, or Django without persistence) and for a
*peer* (assistant-stream, the Python implementation of the same idea). Figures of one machine at
one moment mean little; the ratios of a run, and the targets on them, are what to look at.
"""
