"""The acts of operators, and the data they look at.

selection     the criteria that select streams
bulk          many of them, at a bounded pace: purge, cancel, shorten, reap
inventory     counts and ages of streams
affected      the number of streams that a change of control makes unreachable
incarnation   one stream, exactly as it was when the operator saw it
rows          the row of a tenant, written in sync code and put in force
revoke_on     revocations that follow a logout or a change of a user
records       a row for each stream, written off its path
forgetting    the personal data in records, blanked for one person
incidents     a row for each act of an operator
audit_log     a line for each event
doctor        an examination of the project and its stores
readiness     whether this process should get requests
client_info   address, request id and user of a request, for the logs
pairs         the fields of a log record as text
"""
