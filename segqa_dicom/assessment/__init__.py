"""What a reader can say about segments: data, vocabulary, codec."""
