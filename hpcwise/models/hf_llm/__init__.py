"""A language model in this process, by transformers: where there is no server."""
