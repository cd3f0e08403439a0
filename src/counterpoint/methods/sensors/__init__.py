"""Methods of measurements over time: of several devices at once, or of one for long."""
