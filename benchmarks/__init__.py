"""What `make bench` measures: each module has `main() -> None`, which prints one table of figures side by side."""
