"""From the store to the readers of this process.

hub    every stream that is read here: one push connection, one sweep for missed news
tail   one of them: its last bytes, and the readers that wait for the next
"""
