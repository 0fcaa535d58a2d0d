"""What runs inside the sandbox. `python -m aar.train JOB_DIR` is its only door; the host never imports it."""
