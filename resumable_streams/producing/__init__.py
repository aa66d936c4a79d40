"""From a source to the store, and who answers for it.

sources    anything that yields: async or sync, in its own context and thread
producer   one stream: gather what its source yields, append it, decide its end
buffer     the chunks that gather while an append is in flight
appender   fenced appends and the end: repeated while the store is away, gaps filled
leases     this process, as the others see it: alive while its heartbeat comes
takeover   what dead processes left: ended, or handed on
telling    an end is told once, to all receivers
"""
