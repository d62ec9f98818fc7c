"""The gateway between users and models: it assigns, answers and logs every prediction, and cannot hurt a request."""
