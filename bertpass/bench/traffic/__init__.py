"""Load on a server over HTTP: what is sent and when (``texts``), sending it (``client``), what came back (``summary``).

Arrivals are open loop: a request is sent at its time whether or not earlier ones are answered, and its latency counts
from that time. So a server that stalls cannot hide the requests that it would have got meanwhile (what G. Tene calls
coordinated omission).
"""
