"""StreamWise's evaluation made again: every figure and table that holds results, ours beside the published.

rows: what is compared. cluster: budgets and published allocations. run: the context that figures share, and
the list of figures. baselines: what StreamWise was compared with. One module for each figure, with
`reproduce(context) -> Figure`. Run by `scripts/reproduce`.
"""
