"""Training of the small encoder pair that ships with the package."""
