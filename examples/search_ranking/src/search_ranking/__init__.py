"""Search ranking for a shop: features, a learning-to-rank model, and the data it is shown with."""
