"""Whether the machine at hand computes rightly what answers rest on: ``lmjax check``."""
