"""Labels of clips: which to ask for next."""
