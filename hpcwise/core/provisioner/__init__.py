"""The provisioner: how many replicas of which model on which hardware (StreamWise section 4.4).

types: what is planned and what comes out. options: sizes of replicas that fit, with time and price of each.
model: the analytic pipeline model. search: greedy and refinement. pareto, explain, fleet: what is made of a
plan. Pure: equal arguments give equal plans, in as many steps as `iterations` says.
"""
