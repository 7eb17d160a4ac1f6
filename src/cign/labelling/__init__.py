"""Work on labels: suspicious ones, thresholds of classes, clips to label next."""
