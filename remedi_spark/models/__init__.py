"""Model families, one package each: fit, predict, reasons, ONNX; ``registry`` names them; one loop fits by fold."""
