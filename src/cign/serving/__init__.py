"""`cign serve`: predictions and teaching over HTTP; and the model that a server holds."""
