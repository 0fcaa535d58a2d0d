"""One search at work: jobs planned, cached, run, scored; trials raced; the best confirmed."""
