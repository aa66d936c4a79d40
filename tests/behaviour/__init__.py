"""What a project sees of its streams: run, resume, end, faults; on memory and on Redis."""
