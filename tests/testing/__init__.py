"""`resumable_streams.testing`, as the tests of a site use it."""
