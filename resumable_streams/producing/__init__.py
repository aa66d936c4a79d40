"""From a source to the store, and who answers for it.

sources    anything that yields: async or sync, in its own context and thread
producer   one stream: what its source yields is appended, and its end decided
buffer     what gathers while an append is in flight
leases     this process, as the others see it: alive while its heartbeat comes
takeover   what dead processes left: ended, or handed on
telling    an end is told once, to all receivers
"""
