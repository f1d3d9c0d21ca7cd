"""The review flow: whose turn it is, what was typed, what is signed, what others say."""
