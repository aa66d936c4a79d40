"""What operators do, and what they see.

selection     which streams are meant
bulk          many of them, at a bounded pace: purge, cancel, shorten, reap
inventory     how many there are, and how old
incarnation   one stream, meant as it was, whatever happened since
rows          the row of a tenant, in sync code: what it says comes into force
revoke_on     revocations that follow from what happens to a user
records       a row for each stream, written off its path
incidents     a row for each act of an operator
audit_log     a line for each event
client_info   who a request is from, as far as a log may say
"""
