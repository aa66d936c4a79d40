"""From the store to the readers of this process.

hub    every stream that is read here: one push connection, one look at what was missed
tail   one of them: the last bytes, and who waits for the next
"""
