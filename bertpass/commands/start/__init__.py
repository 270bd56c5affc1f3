"""Commands to start with: texts to vectors and answers, what a model is, a server."""
