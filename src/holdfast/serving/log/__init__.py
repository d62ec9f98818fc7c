"""What was answered, kept: segments on the local disk, written before the answer leaves."""
