"""Tables of ratings in and out, annotations of other programs."""
