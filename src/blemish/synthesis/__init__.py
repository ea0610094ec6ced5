"""Images that were never taken: generators, what of them is fit for use, parts put together."""
