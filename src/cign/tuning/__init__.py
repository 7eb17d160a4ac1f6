"""Search for the options of a method on the validation clips of a store."""
