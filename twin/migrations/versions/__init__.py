"""One module per change, in order. A change is never edited once released: the next one corrects it."""
