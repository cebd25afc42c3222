"""Model families, one module each: settings, fit, load, predict, reasons; and one loop that fits by fold."""
