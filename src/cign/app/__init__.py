"""Web app for one model: predict clips with localization maps, and teach new classes."""
