"""Where models run: in this process, each in the environment it was trained in, or at another server."""
