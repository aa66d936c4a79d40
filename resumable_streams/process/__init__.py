"""A process of somebody's site, in which we are a guest.

runtime     the home loop, and how other loops and threads reach it
shutdown    how we learn that the process ends, and what is drained then
threads     where sync code of the site runs
green       the same under gevent
databases   which connections may be let go
holdings    what a request or a producer holds, and when it is let go
lasting     work that is done as a whole, though its caller leaves
"""
