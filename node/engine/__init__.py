"""Order: what decides which transaction comes when. Clocks, queues, processes and networks live here; rules
do not.
"""
