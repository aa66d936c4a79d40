"""A process of somebody's site, where we are guests.

runtime     the home loop, and how other loops and threads reach it
shutdown    the signs that the process ends, and the drain
threads     the threads for sync code of the site
green       the same under gevent
databases   the connections that may be released
holdings    connections and threads of a request or a producer, and their release
lasting     work that is done as a whole, even if its caller leaves
"""
