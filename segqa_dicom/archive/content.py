"""Telling whether two encodings of an object say the same.

An archive may write an object anew: sequences of defined instead of undefined length, other file meta information, group
lengths left out. That is no other content.
"""
