"""Read live media: streams, capture devices, and files that grow."""
