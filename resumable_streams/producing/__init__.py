"""From a source to the store, and the process that answers for it.

sources    anything that yields: async or sync, in its own context and thread
producer   one stream: gather chunks of its source, append them, decide the end
buffer     the chunks that gather while an append is in flight
appender   fenced appends and the end: repeated while the store is away, gaps filled
leases     this process, as the others see it: alive while its heartbeat comes
takeover   the streams of dead processes: ended, or handed on
telling    an end is told once, to all receivers
"""
