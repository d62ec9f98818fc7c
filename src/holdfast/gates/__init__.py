"""From evidence and policy to checks: quality, slices, latency; two columns without a project."""
